"""Whole latent diffusion models from files of the original code as runs, and back."""

import functools
import math
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from ldm_jax import checkpoint, runs, training
from ldm_jax.convert import recognise
from ldm_jax.convert.paths import prefix_errors, whole
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.settings import check_ranges
from ldm_jax.types import Params
from ldm_jax.weights import table
from ldm_jax.weights.formats.files import read_weights, write_weights
from ldm_jax.weights.names import model
from ldm_jax.weights.names.condition import STATISTICS
from ldm_jax.weights.names.schedule import schedule

ASIDE = "aside.safetensors"
UNLIKE = 1e-4  # two schedules whose alpha_bar differ by more are not the same


def holds_model(source: Path) -> bool:
    """Whether a file holds a denoiser."""
    return source.is_file() and any(key.startswith(model.DENOISER) for key in read_weights(source))


def say_whole(source: Path) -> None:
    """Says by which configs more than the first stage of a file could be imported, where known."""
    state = read_weights(source)
    known = recognise.stable_diffusion({key: np.shape(state[key]) for key in state})
    if known:
        print(f"{source}: with --config {' or '.join(known)} the whole model is imported")


# Into a run


def import_model(
    source: Path, run: Path, experiment: Experiment, tokenizer: Path | None, averages: bool
) -> None:
    """Imports a checkpoint of the original code as the run of a diffusion model.

    Raises:
        InputError: a key is missing, unexpected or misshapen, and all of them are named; or the
            file and the config are of other processes, scales or tokenizers.
    """
    experiment = checked(experiment)
    tokenizers = tokenizers_of(experiment, tokenizer)
    names = experiment.original_names()
    state = _with_left_out(read_weights(source), experiment)
    with prefix_errors(source):
        held, wrong = model.parts(names, state, {key: np.shape(state[key]) for key in state})
        if wrong:
            known = recognise.stable_diffusion({key: np.shape(state[key]) for key in state})
            other = f" (they look like those of {' or '.join(known)})" if known else ""
            raise InputError("\n".join([f"these weights are not of this model{other}:", *wrong]))
        _check_schedule(held.aside, experiment)
        experiment = replace(experiment, latent_scale=_scale(held.scale, experiment))
        params = float32(names.table, held.weights)
        ema = {}
        if held.averages and averages:
            rows = [row for row in names.table if row.keys[0] in held.averages]
            ema = float32(rows, held.averages)
    channels = experiment.first_stage.model.build().channels
    scale = np.float32(experiment.latent_scale if held.scale is None else held.scale)
    for part in ("denoiser", "conditioner"):
        params.setdefault(part, {})
    shift = np.zeros(channels, np.float32)
    params["first_stage"] |= {"shift": shift, "scale": np.full_like(shift, scale)}
    aside = {**held.aside}
    with whole(run) as unfinished:
        runs.write_imported(unfinished, experiment, params, ema, tokenizers)
        if aside:
            write_weights(unfinished / ASIDE, aside)
    _say(source, run, experiment, names, held, bool(ema))


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
    here = np.cumprod(1.0 - betas)
    if there.shape != here.shape or np.max(np.abs(there - here)) > UNLIKE:
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


def float32(names: table.Table, state: table.State) -> Params:
    """The parameters, float32; those that are so already, and need no joining, are views."""
    for row in names:
        dtype = state[row.keys[0]].dtype
        if not jnp.issubdtype(dtype, jnp.floating):
            raise InputError(f"{row.keys[0]} is of {dtype}: expected float32 or float16")
    return jax.tree.map(lambda w: np.asarray(w, np.float32), table.rearranged(names, state))


def _say(
    source: Path,
    run: Path,
    experiment: Experiment,
    names: model.Names,
    held: model.Parts,
    averaged: bool,
) -> None:
    """Prints what was imported, and what became of the rest."""
    sizes = dict.fromkeys(("denoiser", "conditioner", "first_stage"), 0)
    for row in names.table:
        sizes[row.path.split("/")[0]] += len(row.keys) * math.prod(row.shape)
    print(f"{source}: " + ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    if averaged:
        print("the averages of the denoiser's weights (model_ema.*) are what samples are drawn of")
    elif held.averages:
        print("the averages of the denoiser's weights (model_ema.*) are left out")
    else:
        print("there are no averages of the denoiser's weights (model_ema.*): the last ones count")
    kinds = sorted({str(held.weights[key].dtype) for key in held.weights} - {"float32"})
    if kinds:
        print(f"weights of {', '.join(kinds)} become float32")
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


class Checkpoint(Mapping[str, np.ndarray]):
    """The original's state dict of a checkpoint; parts are read when asked for, one at a time."""

    def __init__(self, rows: dict[str, tuple[str, table.Row]], read: Callable[[str, str], Params]):
        """rows: key -> item of the checkpoint and the key's row; read: (item, part) -> params."""
        self._rows, self._read = rows, read
        self._open, self._flat = ("", ""), {}

    def __getitem__(self, key: str) -> np.ndarray:
        item, row = self._rows[key]
        part, _, path = row.path.partition("/")
        if self._open != (item, part):
            self._flat = {}  # before more is read
            self._open, self._flat = (item, part), table.flattened(self._read(item, part))
        split = np.split(self._flat[path], len(row.keys), axis=-1)
        return row.layout.to_original(split[row.keys.index(key)], row.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


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
    rows = _rows(experiment.original_names(), averaged, trained_here)
    held: dict[str, np.ndarray] = schedule(betas)
    if (run / ASIDE).exists():
        aside = read_weights(run / ASIDE)
        held = {name: aside[name] for name in aside}
    if experiment.latent_scale == "one":
        scale = checkpoint.read_part(run, "params", "first_stage", which)["scale"]
        held[model.SCALE] = np.asarray(scale[0])
    read = functools.partial(checkpoint.read_part, run, which=which)
    rows = _without_trivial(rows, Checkpoint(rows, read))
    forms = held | {
        key: np.broadcast_to(np.float32(0), row.shape) for key, (_, row) in rows.items()
    }
    weights = ChainMap(held, Checkpoint(rows, read))
    write_weights(destination, weights, forms)
    if trained_here and averaged:
        print("the averaged weights are written, as the weights")
    if experiment.latent_scale != "one":
        print(f"scale_factor is {experiment.latent_scale}, which the original's config says")
    for name, value, known in _beyond(experiment):
        print(
            f"{name} is {value}, and {known} in the original's code, which computes something else "
            "with this file; here it is imported with --config RUN/config.py"
        )
    print(f"{destination}: {len(forms)} weights in the original layout")


def _without_trivial(
    rows: dict[str, tuple[str, table.Row]], weights: table.State
) -> dict[str, tuple[str, table.Row]]:
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


def _rows(
    names: model.Names, averaged: set[str], trained_here: bool
) -> dict[str, tuple[str, table.Row]]:
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
