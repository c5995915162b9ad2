"""First stages from elsewhere as runs, and runs as files that others read."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ldm_jax import runs
from ldm_jax.convert import recognise
from ldm_jax.convert.paths import FILES, prefix_errors
from ldm_jax.errors import InputError, read_json
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runtime.files import whole_folder
from ldm_jax.weights import original, table
from ldm_jax.weights.formats import diffusers_folder
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.formats.plain import Plain
from ldm_jax.weights.names import autoencoder, tiny
from ldm_jax.weights.names.autoencoder import Description

IMAGE_SIZE = 256  # pixels a side, on which the original's first stages were trained


class FirstStage(NamedTuple):
    """A first stage elsewhere: what it is, and its weights, which are read when asked for."""

    description: Description
    names: table.Table
    state: table.State
    notes: tuple[str, ...] = ()  # where the weights are from, and what is left out


# Into a run


def import_first_stage(source: Path, run: Path, experiment: FirstStageExperiment | None) -> None:
    """Imports a checkpoint file or a diffusers folder as the run of a first stage."""
    with prefix_errors(source):
        found = open_first_stage(source, experiment)
        description = found.description
        state = autoencoder.with_identities(found.names, found.state, description.left_out)
        params = table.to_here(found.names, state)
    for name in ("shift", "scale"):
        params[name] = np.asarray(getattr(description, name), np.float32)
    print(f"{source}: {description.model.describe()}")
    for note in (*found.notes, *_scaling(description)):
        print(note)
    say_widened(found.state)
    experiment = experiment or FirstStageExperiment()
    pixels = experiment.data.image_size or description.image_size
    data = replace(experiment.data, image_size=pixels)
    experiment = replace(experiment, model=description.model, data=data)
    with whole_folder(run) as unfinished:
        runs.write_imported(unfinished, experiment, params)
    size = table.count(found.names)
    print(f"{run}: {size:,} parameters; use them with --first-stage.run {run}")


def open_first_stage(source: Path, experiment: FirstStageExperiment | None = None) -> FirstStage:
    """The first stage in a checkpoint file or a diffusers folder.

    Args:
        experiment: says what it is; None: its config.json does, or else its keys and shapes.

    Raises:
        InputError: it is neither, or not this first stage.
    """
    if diffusers_folder.find(source):
        return _open_diffusers(source, experiment)
    if source.is_dir():
        raise InputError(
            "there is no config.py as in a run, and no config.json as in a diffusers folder: "
            "expected one of these, or a checkpoint file"
        )
    weights = read_weights(source)
    if tiny.is_half(weights) or tiny.is_whole(weights):
        return _open_tiny(source, weights, experiment)
    return _open_file(source, weights, experiment)


def _open_tiny(source: Path, weights: Plain, experiment: FirstStageExperiment | None) -> FirstStage:
    """A tiny autoencoder in one file, or in two of which `source` is one."""
    notes = weights.notes
    if tiny.is_half(weights):
        files = tiny.halves(source)
        weights = tiny.joined(*map(read_weights, files))
        notes = (f"encoder from {files[0].name}, decoder from {files[1].name}",)
    shapes = table.shapes_of(weights)
    model = experiment.model if experiment else recognise.tiny_autoencoder(shapes)
    original_form = tiny.form_of(shapes) == "original"
    names = model.original_names() if original_form else model.diffusers_names()
    return FirstStage(_described(model, 1.0), names, weights, notes)


def _described(model: Any, scale: float, left_out: tuple[str, ...] = ()) -> Description:
    z = model.z_channels
    return Description(model, IMAGE_SIZE, (0.0,) * z, (scale,) * z, left_out)


def _open_file(source: Path, weights: Plain, experiment: FirstStageExperiment | None) -> FirstStage:
    """A KL or VQ autoencoder under the original's names, or under those of diffusers."""
    found, config = original.first_stage(weights), source.with_name(diffusers_folder.CONFIG)
    shapes, notes = table.shapes_of(found.state), (*weights.notes, *found.notes)
    if not any(key.startswith("encoder.down_blocks.") for key in shapes):
        model = experiment.model if experiment else recognise.autoencoder(shapes)
        names = model.original_names()
        described = _described(model, found.scale, autoencoder.left_out(names, shapes))
        return FirstStage(described, names, found.state, notes)
    if config.is_file():
        described = _agreed(recognise.of_diffusers(read_json(config)), experiment)
    else:
        model = experiment.model if experiment else recognise.autoencoder(shapes)
        described = _described(model, 1.0, autoencoder.left_out(model.diffusers_names(), shapes))
        notes += ("there is no config.json beside the file, with the scale of latents: left at 1",)
    return FirstStage(described, described.model.diffusers_names(), found.state, notes)


def _agreed(described: Description, experiment: FirstStageExperiment | None) -> Description:
    """What a config.json describes; raises InputError where the config is of something else."""
    chosen = described._replace(model=experiment.model) if experiment else described
    if chosen.model.diffusers_config(chosen) != described.model.diffusers_config(described):
        raise InputError(f"config.json has {described.model} and --config {chosen.model}")
    return chosen


def _open_diffusers(source: Path, experiment: FirstStageExperiment | None) -> FirstStage:
    folder = diffusers_folder.read(source)
    described = _agreed(recognise.of_diffusers(folder.settings), experiment)
    file = folder.files[0].relative_to(source)
    more = f" and {len(folder.files) - 1} more" if len(folder.files) > 1 else ""
    notes = (f"weights of diffusers from {file}{more}",)
    return FirstStage(described, described.model.diffusers_names(), folder.state, notes)


def say_widened(*states: table.State) -> None:
    """Says of which types weights were, where not float32."""
    kinds = {str(state[key].dtype) for state in states for key in state} - {"float32"}
    if kinds:
        print(f"weights of {', '.join(sorted(kinds))} become float32")


# Out of a run


def export_first_stage(run: Path, destination: Path) -> None:
    """Exports the run of a first stage as a file in the original layout, or for diffusers.

    Raises:
        InputError: neither has such an autoencoder.
    """
    experiment = runs.load_first_stage_config(run)
    model, original_form = experiment.model, destination.suffix in FILES
    names = model.original_names() if original_form else model.diffusers_names()
    params = runs.load_first_stage(run, model.build())
    state = table.to_original(names, params)
    layers = autoencoder.identities(state)
    if not original_form or layers == autoencoder.QUANT_CONVS:
        state = autoencoder.without(state, layers)
    shift, scale = (tuple(np.asarray(params[name]).tolist()) for name in ("shift", "scale"))
    description = Description(model, experiment.data.image_size, shift, scale, layers)
    print(f"{run}: {model.describe()}")
    if original_form:
        write_weights(destination, state)
        for scaling in _scaling(description):
            print(
                f"{scaling}, which the file does not hold, but the original's config (scale_factor)"
            )
        groups = getattr(model, "norm_groups", recognise.GROUPS)
        if groups != recognise.GROUPS:
            print(
                f"the file does not hold norm_groups, {groups} here and {recognise.GROUPS} in the "
                "original: import it with --config RUN/config.py"
            )
        print(f"{destination}: {len(state)} weights in the original layout")
        return
    settings = model.diffusers_config(description)
    with whole_folder(destination) as unfinished:
        diffusers_folder.write(unfinished, settings, state)
    print(f"{destination}: {len(state)} weights in the layout of diffusers")


def _scaling(description: Description) -> list[str]:
    """How latents are scaled, where they are."""
    shift, scale = (sorted(set(numbers)) for numbers in (description.shift, description.scale))
    if (shift, scale) == ([0.0], [1.0]):
        return []
    words = (", ".join(f"{number:g}" for number in numbers) for numbers in (shift, scale))
    return ["latents are shifted by {} and scaled by {}".format(*words)]
