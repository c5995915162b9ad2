"""Whole latent diffusion models from files of the original code as runs, and back."""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from ldm_jax import checkpoint, runs, training
from ldm_jax.convert import recognise
from ldm_jax.convert.first_stage import say_widened
from ldm_jax.convert.glide import is_glide
from ldm_jax.convert.paths import prefix_errors
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runtime.files import whole_folder
from ldm_jax.settings import check_ranges
from ldm_jax.weights import table
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.formats.plain import Plain
from ldm_jax.weights.names import model
from ldm_jax.weights.names.condition import STATISTICS
from ldm_jax.weights.names.diffusers_scheduler import PREDICTIONS
from ldm_jax.weights.names.schedule import schedule

ASIDE = "aside.safetensors"
Rows = dict[str, tuple[str, table.Row]]  # key -> item of a checkpoint, and the key's row
UNLIKE = 1e-4  # two schedules whose alpha_bar differ by more are not the same


def holds_model(weights: table.State) -> bool:
    """Whether a file holds a denoiser."""
    return any(key.startswith(model.DENOISER) for key in weights) or is_glide(weights)


def known_as(weights: table.State) -> str:
    """The configs that a file may be imported with, where its shapes tell; "" for others."""
    return " or ".join(recognise.stable_diffusion(table.shapes_of(weights)))


# Into a run


def import_model(
    source: Path, run: Path, experiment: Experiment, tokenizer: Path | None, averages: bool
) -> None:
    """Imports a checkpoint of the original code as the run of a diffusion model.

    Raises:
        InputError: a key is missing, unexpected or misshapen; or the file and the config are of
            other processes, scales or tokenizers.
    """
    first, experiment = experiment.first_stage, checked(experiment)
    tokenizers = tokenizers_of(experiment, tokenizer)
    with prefix_errors(source):
        file = read_weights(source)
        state = _with_first_stage(_with_left_out(file, experiment), first)
        named = tuple(one.named_as(file) for one in experiment.conditions)
        names = replace(experiment, conditions=named).original_names()
        held, wrong = model.parts(names, state)
        known = known_as(state) if wrong else ""
        other = f" (they look like those of {known})" if known else ""
        table.refuse(wrong, f"these weights are not of this model{other}")
        _check_schedule(held.aside, experiment)
        experiment = replace(experiment, latent_scale=_scale(held.scale, experiment))
        params = table.rearranged(names.table, held.weights)
        rows = [row for row in names.table if row.keys[0] in held.averages and averages]
        ema = table.rearranged(rows, held.averages)
    for note in (*file.notes, *contradicted(own_words(file), experiment)):
        print(f"{source}: {note}")
    for part in ("denoiser", "conditioner", "first_stage"):
        params.setdefault(part, {})
    scale = experiment.latent_scale if held.scale is None else held.scale
    params["first_stage"] |= one_scale(experiment, scale)
    aside = {**held.aside}
    with whole_folder(run) as unfinished:
        runs.write_imported(unfinished, experiment, params, ema, tokenizers)
        if aside:
            write_weights(unfinished / ASIDE, aside)
    _say(source, run, experiment, names, held, bool(ema))


def one_scale(experiment: Experiment, scale: float) -> dict[str, np.ndarray]:
    """The parameters of latents that one number scales."""
    shift = np.zeros(experiment.first_stage.model.build().channels, np.float32)
    return {"shift": shift, "scale": np.full_like(shift, scale)}


def own_words(file: Plain) -> dict[str, Any]:
    """What a file says of the model in it: field -> value."""
    words = file.metadata
    said: dict[str, Any] = {}
    for name in ("modelspec.prediction_type", "prediction_type"):
        prediction = (PREDICTIONS | {"v": "v"}).get(words.get(name, "").lower())
        if prediction:
            said["diffusion.prediction"] = prediction
    if "v_pred" in file or words.get("ss_v_parameterization", "").lower() == "true":
        said["diffusion.prediction"] = "v"
    if "ztsnr" in file or words.get("ss_zero_terminal_snr", "").lower() == "true":
        said["diffusion.zero_terminal_snr"] = True
    return said


def contradicted(said: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """Where a config is followed instead of what a file says of itself."""
    found = []
    for name, value in said.items():
        section, _, field = name.partition(".")
        own = getattr(getattr(experiment, section), field)
        if own != value:
            found.append(
                f"warning: the file says that {name} is {value}, and the config, which is "
                f"followed, {own}"
            )
    return found


def _with_first_stage(state: table.State, first: FirstStageExperiment) -> table.State:
    """The same with the first stage of the config's first_stage.run, where the file has none.

    Raises:
        InputError: the config names none, either.
    """
    if any(key.startswith(model.FIRST_STAGE) for key in state) or not first.model.original_names():
        return state
    if first.run is None:
        raise InputError(
            f"there is no first stage ({model.FIRST_STAGE}*) in this file: expected one, or "
            "first_stage.run in CONFIG.py, the run that convert.py makes of the file of a VAE"
        )
    params = runs.load_first_stage(Path(first.run), first.model.build())
    own = table.to_original(first.model.original_names(), params)
    return ChainMap(state, {model.FIRST_STAGE + key: w for key, w in own.items()})


def _with_left_out(state: table.State, experiment: Experiment) -> table.State:
    """The same with the weights that conditions have where the file has none."""
    found: dict[str, np.ndarray] = {}
    for condition in experiment.conditions:
        own, warning = condition.left_out()
        absent = {key: x for key, x in own.items() if key not in state}
        if absent and warning:
            print(warning)
        found |= absent
    return ChainMap(state, found) if found else state


def checked(experiment: Experiment) -> Experiment:
    """The experiment as its training would see it, where nothing is left to be read from data."""
    first = training.inherit(experiment.first_stage, experiment.data)
    experiment = replace(experiment, first_stage=replace(first, run=None))
    unknown = [
        f"conditions.{i}.{name}"
        for i, condition in enumerate(experiment.conditions)
        for name in ("num_classes", "vocab_size")
        if getattr(condition, name, 0) is None
    ]
    if unknown:
        raise InputError(f"{unknown[0]} is None: expected a number, as no data are read here")
    check_ranges(experiment)
    experiment.check()
    if experiment.latent_scale == "channels":
        raise InputError(
            "latent_scale is channels: expected one or a number, since the original has one scale"
        )
    return experiment


def tokenizers_of(experiment: Experiment, given: Path | None) -> dict[str, Tokenizer]:
    """The tokenizer given, or the config's own, by entries of a batch; those that are there."""
    encoders, found = runs.text_encoders(experiment), {}
    if given and not encoders:
        raise InputError(
            f"--tokenizer is {given}: expected none, since the config's condition is no Text"
        )
    for entry, encoder in encoders.items():
        own = encoder.tokenizer
        path = given or (Path(own) if own and Path(own).is_file() else None)
        tokenizer = encoder.given_tokenizer(path)
        if tokenizer is None:
            continue
        if tokenizer.get_vocab_size() != encoder.vocab_size:
            raise InputError(
                f"tokenizer '{path}' has {tokenizer.get_vocab_size()} tokens: expected "
                f"{encoder.vocab_size}, as vocab_size of {type(encoder).__name__}"
            )
        found[entry] = tokenizer
    return found


def _check_schedule(aside: table.State, experiment: Experiment) -> None:
    """Raises InputError where the file was trained with another noising process."""
    there, betas = aside.get("alphas_cumprod"), experiment.diffusion.build_betas()
    if there is None or betas is None:
        return
    there, here = np.asarray(there, np.float64), np.cumprod(1.0 - betas)
    # of tables that were rounded to 16 bits, be they widened again or not
    rounded = (kind for kind in (jnp.bfloat16, jnp.float16) if (there == there.astype(kind)).all())
    unlike = max(UNLIKE, *(float(jnp.finfo(kind).eps) for kind in rounded), 0)
    if there.shape != here.shape or np.max(np.abs(there - here)) > unlike:
        d = experiment.diffusion
        raise InputError(
            f"alphas_cumprod ends at {there[-1]:.3g} after {len(there)} steps: expected "
            f"{here[-1]:.3g} after {len(here)}, as by the config's diffusion ({d.schedule} from "
            f"{d.beta_start} to {d.beta_end})"
        )


def _scale(found: float | None, experiment: Experiment) -> Any:
    """The config's latent_scale: "one" where the file says what was measured."""
    if found is not None:
        return "one"
    if experiment.latent_scale == "one":
        raise InputError(
            "scale_factor is missing, and the config's latent_scale is one: expected either the "
            "scale in the file or a number as latent_scale, such as 1.0 for VQ first stages"
        )
    return experiment.latent_scale


def _say(
    source: Path,
    run: Path,
    experiment: Experiment,
    names: model.Names,
    held: model.Parts,
    averaged: bool,
) -> None:
    """Prints what was imported, and what became of the rest."""
    sizes = {
        part: table.count([row for row in names.table if row.path.startswith(f"{part}/")])
        for part in ("denoiser", "conditioner", "first_stage")
    }
    print(f"{source}: " + ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    if averaged:
        print("the averages of the denoiser's weights (model_ema.*) are what samples are drawn of")
    elif held.averages:
        print("the averages of the denoiser's weights (model_ema.*) are left out")
    else:
        print("there are no averages of the denoiser's weights (model_ema.*): the last ones count")
    say_widened(held.weights)
    if held.aside:
        print(f"{len(held.aside)} entries that no model reads are kept in {run / ASIDE}")
    say_tokenizer(run, experiment)
    print(f"{run}: {sum(sizes.values()):,} parameters; draw with sample.py {run}")


def say_tokenizer(run: Path, experiment: Experiment) -> None:
    """Says where a tokenizer is to come from, where a run that reads captions has none."""
    for entry, encoder in runs.text_encoders(experiment).items():
        if not (run / runs.tokenizer_file(entry)).exists():
            which = encoder.tokenizer_files
            print(f"there is no tokenizer: sampling takes --tokenizer here, {which}")


# Out of a run


def checkpoint_weights(run: Path, rows: Rows, at: str | None = None) -> table.Lazy:
    """The weights of a checkpoint under other names; one part is in memory at a time."""
    kept: dict[tuple[str, str], dict[str, np.ndarray]] = {}

    def read(key: str) -> np.ndarray:
        item, row = rows[key]
        part, _, path = row.path.partition("/")
        if (item, part) not in kept:
            kept.clear()  # before more is read
            kept[item, part] = table.flattened(checkpoint.read_part(run, item, part, at))
        parts = table.split(kept[item, part][path], len(row.keys), row.groups)
        return row.layout.to_original(parts[row.keys.index(key)], row.shape)

    return table.Lazy(rows, read)


def export_model(run: Path, destination: Path) -> None:
    """Exports the run of a diffusion model as a file of the original code.

    Raises:
        InputError: the original has no such model.
    """
    run, which = runs.locate(run)
    experiment = _with_own_vocabulary(run, runs.load_config(run))
    betas = experiment.diffusion.build_betas()
    if betas is None:
        raise InputError(
            f"run '{run}' has diffusion.schedule {experiment.diffusion.schedule}: expected one of "
            "linear, scaled_linear, sqrt and cosine, since the original has no other"
        )
    if experiment.latent_scale == "channels":
        raise InputError(
            f"run '{run}' has latent_scale channels: expected one or a number, since the original "
            "multiplies latents by one number"
        )
    averaged = checkpoint.averaged_parts(run, which)
    trained_here = checkpoint.latest_step(run) > 0
    names = experiment.original_names()
    if names.bare and experiment.latent_scale != 1.0:
        raise InputError(
            f"run '{run}' has latent_scale {experiment.latent_scale}: expected 1.0, since the file "
            "of GLIDE has no scale"
        )
    rows = _rows(names, averaged, trained_here)
    held: dict[str, np.ndarray] = {} if names.bare else schedule(betas)
    if (run / ASIDE).exists():
        aside = read_weights(run / ASIDE)
        held = {name: aside[name] for name in aside}
    if experiment.latent_scale == "one":
        scale = checkpoint.read_part(run, "params", "first_stage", which)["scale"]
        held[model.SCALE] = np.asarray(scale[0])
    rows = _without_trivial(rows, checkpoint_weights(run, rows, which))
    forms = held | {
        key: np.broadcast_to(np.float32(0), row.shape) for key, (_, row) in rows.items()
    }
    weights = ChainMap(held, checkpoint_weights(run, rows, which))
    write_weights(destination, weights, forms)
    if trained_here and averaged:
        print("the averaged weights are written, as the weights")
    if experiment.latent_scale != "one" and not names.bare:
        print(f"scale_factor is {experiment.latent_scale}, which the original's config says")
    for name, value, known in () if names.bare else _beyond(experiment):
        print(
            f"{name} is {value}, and {known} in the original's code, which computes something else "
            "with this file; here it is imported with --config RUN/config.py"
        )
    print(f"{destination}: {len(forms)} weights in the original layout")


def _without_trivial(rows: Rows, weights: table.State) -> Rows:
    """Without the statistics of embeddings that say nothing, which files leave out."""
    trivial = {
        key for key in STATISTICS.keys() & rows.keys() if np.all(weights[key] == STATISTICS[key])
    }
    return {key: row for key, row in rows.items() if key not in trivial}


def _beyond(experiment: Experiment) -> list[tuple[str, Any, Any]]:
    """What the weights mean here and not there: a setting's name, value, and value there."""
    unet, d = experiment.model, experiment.diffusion
    captions = runs.text_encoders(experiment).get("tokens")
    settings = [
        ("model.positions", unet.positions, False),
        ("model.norm_groups", unet.norm_groups, recognise.GROUPS),
        ("conditions.0.pooled", getattr(captions, "pooled", False), False),
        ("diffusion.prediction", d.prediction, "eps"),
        ("diffusion.schedule", d.schedule, "scaled_linear"),
        ("diffusion.learned_variance", d.learned_variance, False),
    ]
    return [(name, value, known) for name, value, known in settings if value != known]


def _with_own_vocabulary(run: Path, experiment: Experiment) -> Experiment:
    """The experiment with as many tokens as the run's tokenizers have learned."""
    files = map(runs.tokenizer_file, runs.text_encoders(experiment))
    if not all((run / name).exists() for name in files):
        return experiment
    tokenizers = runs.load_tokenizers(run, experiment).items()
    sizes = {entry: one.get_vocab_size() for entry, one in tokenizers}
    conditions = tuple(one.with_vocabulary(sizes) for one in experiment.conditions)
    return replace(experiment, conditions=conditions)


def _rows(names: model.Names, averaged: set[str], trained_here: bool) -> Rows:
    """Key -> the item of the checkpoint that has its weight, and its row.

    What was imported goes out as it came in; of what was trained here, the averages count.
    """
    rows = {}
    for row in names.table:
        part = row.path.partition("/")[0]
        item = "ema" if trained_here and part in averaged else "params"
        rows |= dict.fromkeys(row.keys, (item, row))
        if part in averaged and not trained_here:
            average = row._replace(keys=tuple(map(model.averaged_key, row.keys)))
            rows |= dict.fromkeys(average.keys, ("ema", average))
    for copy, key in names.copies.items():
        item, row = rows[key]
        there = tuple(model.CONDITIONER + k.removeprefix(model.FIRST_STAGE) for k in row.keys)
        rows[copy] = (item, row._replace(keys=there))
    return rows
