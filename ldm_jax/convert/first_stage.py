"""First stages from elsewhere as runs, and runs as files that others read."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import runs
from ldm_jax.convert import recognise
from ldm_jax.convert.paths import FILES, prefix_errors, whole
from ldm_jax.errors import InputError
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.types import Params
from ldm_jax.weights import original, table
from ldm_jax.weights.formats import diffusers_folder
from ldm_jax.weights.formats.files import read_weights, write_weights
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
        params = read_params(found)
    kinds = {str(w.dtype) for w in jax.tree.leaves(params)} - {"float32"}
    params = jax.tree.map(lambda w: np.asarray(w, np.float32), params)
    print(f"{source}: {found.description.model.describe()}")
    for note in (*found.notes, *_scaling(found.description)):
        print(note)
    if kinds:
        print(f"weights of {', '.join(sorted(kinds))} become float32")
    experiment = experiment or FirstStageExperiment()
    size = experiment.data.image_size or found.description.image_size
    experiment = replace(
        experiment,
        model=found.description.model,
        data=replace(experiment.data, image_size=size),
    )
    with whole(run) as unfinished:
        runs.write_imported(unfinished, experiment, params)
    count = sum(len(row.keys) * math.prod(row.shape) for row in found.names)
    print(f"{run}: {count:,} parameters; use them with --first-stage.run {run}")


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
    return _open_original(weights, experiment)


def _open_tiny(
    source: Path, weights: table.State, experiment: FirstStageExperiment | None
) -> FirstStage:
    """A tiny autoencoder in one file, or in two of which `source` is one."""
    notes = ()
    if tiny.is_half(weights):
        files = tiny.halves(source)
        weights = tiny.joined(*map(read_weights, files))
        notes = (f"encoder from {files[0].name}, decoder from {files[1].name}",)
    shapes = {key: np.shape(weights[key]) for key in weights}
    model = experiment.model if experiment else recognise.tiny_autoencoder(shapes)
    z = model.z_channels
    description = Description(model, IMAGE_SIZE, shift=(0.0,) * z, scale=(1.0,) * z)
    original_form = tiny.form_of(shapes) == "original"
    names = model.original_names() if original_form else model.diffusers_names()
    return FirstStage(description, names, weights, notes)


def _open_original(weights: table.State, experiment: FirstStageExperiment | None) -> FirstStage:
    found = original.first_stage(weights)
    shapes = {key: np.shape(found.state[key]) for key in found.state}
    model = experiment.model if experiment else recognise.autoencoder(shapes)
    names = model.original_names()
    description = Description(
        model,
        IMAGE_SIZE,
        shift=(0.0,) * model.z_channels,
        scale=(found.scale,) * model.z_channels,
        left_out=autoencoder.left_out(names, shapes),
    )
    return FirstStage(description, names, found.state, found.notes)


def _open_diffusers(source: Path, experiment: FirstStageExperiment | None) -> FirstStage:
    folder = diffusers_folder.read(source)
    description = recognise.of_diffusers(folder.settings)
    chosen = description._replace(model=experiment.model) if experiment else description
    if diffusers_config(chosen) != diffusers_config(description):
        raise InputError(f"config.json has {description.model} and --config {chosen.model}")
    file = folder.files[0].relative_to(source)
    more = f" and {len(folder.files) - 1} more" if len(folder.files) > 1 else ""
    notes = (f"weights of diffusers from {file}{more}",)
    return FirstStage(chosen, chosen.model.diffusers_names(), folder.state, notes)


def read_params(found: FirstStage) -> Params:
    """The parameters of a first stage, of the types that they are stored in.

    Raises:
        InputError: a key is missing, unexpected or misshapen, and the message names all of them;
            or weights are no numbers with fractions.
    """
    description = found.description
    state = autoencoder.with_identities(found.names, found.state, description.left_out)
    params = table.to_here(found.names, state)
    for path, weight in table.flattened(params).items():
        if not jnp.issubdtype(weight.dtype, jnp.floating):
            raise InputError(f"{path} is of {weight.dtype}: expected float32, float16 or bfloat16")
    numbers = {"shift": description.shift, "scale": description.scale}
    return params | {name: np.asarray(number, np.float32) for name, number in numbers.items()}


# Out of a run


def export_first_stage(run: Path, destination: Path) -> None:
    """Exports the run of a first stage as a file in the original layout, or for diffusers."""
    experiment = runs.load_first_stage_config(run)
    experiment.model.original_names()  # or there is nothing to write
    params = runs.load_first_stage(run, experiment.model.build())
    description = describe(experiment, params)
    print(f"{run}: {description.model.describe()}")
    if destination.suffix in FILES:
        state = to_original(description, params)
        write_weights(destination, state)
        for note in _lost_in_original(description):
            print(note)
        print(f"{destination}: {len(state)} weights in the original layout")
    else:
        settings, state = to_diffusers(description, params)
        with whole(destination) as unfinished:
            diffusers_folder.write(unfinished, settings, state)
        print(f"{destination}: {len(state)} weights in the layout of diffusers")


def diffusers_config(description: Description) -> dict[str, Any]:
    """The config.json by which diffusers describes a first stage."""
    return description.model.diffusers_config(description)


def describe(experiment: FirstStageExperiment, params: Params) -> Description:
    """What there is to know of a first stage of this project."""
    shift, scale = (tuple(np.asarray(params[name]).tolist()) for name in ("shift", "scale"))
    return Description(experiment.model, experiment.data.image_size, shift, scale)


def to_original(description: Description, params: Params) -> dict[str, np.ndarray]:
    """The state dict of the original."""
    state = table.to_original(description.model.original_names(), params)
    layers = autoencoder.identities(state)
    return autoencoder.without(state, layers) if layers == autoencoder.QUANT_CONVS else state


def _scaling(description: Description) -> list[str]:
    """How latents are scaled, where they are."""
    shift, scale = (sorted(set(numbers)) for numbers in (description.shift, description.scale))
    if (shift, scale) == ([0.0], [1.0]):
        return []
    words = (", ".join(f"{number:g}" for number in numbers) for numbers in (shift, scale))
    return ["latents are shifted by {} and scaled by {}".format(*words)]


def _lost_in_original(description: Description) -> list[str]:
    """What the weights alone do not say."""
    notes = [
        f"{scaling}, which the file does not hold: the original's config does (scale_factor)"
        for scaling in _scaling(description)
    ]
    groups = getattr(description.model, "norm_groups", recognise.GROUPS)
    if groups != recognise.GROUPS:
        notes.append(
            f"the file does not hold norm_groups, {groups} here and "
            f"{recognise.GROUPS} in the original: import it with --config RUN/config.py"
        )
    return notes


def to_diffusers(
    description: Description, params: Params
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """config.json and the weights of diffusers.

    Raises:
        InputError: diffusers has no such autoencoder.
    """
    state = table.to_original(description.model.diffusers_names(), params)
    layers = autoencoder.identities(state)
    settings = diffusers_config(description._replace(left_out=layers))
    return settings, autoencoder.without(state, layers)
