"""Whole latent diffusion models in the checkpoint files of CompVis/latent-diffusion.

model.diffusion_model.*    the denoiser
model_ema.*                averages of its weights, whose names have no dots, and two counters
first_stage_model.*        the first stage
cond_stage_model.*         the conditioner; the first stage once more where it makes the condition
betas, alphas_cumprod ...  tables of the noising process, which follow from its betas
scale_factor               of the latents, where it was measured
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ldm_jax.weights.names.clip import UNUSED as CLIP_UNUSED
from ldm_jax.weights.names.condition import CONDITIONER, ConditionNames
from ldm_jax.weights.names.schedule import schedule
from ldm_jax.weights.names.text import TEXT_UNUSED
from ldm_jax.weights.names.unet import UNet, unet
from ldm_jax.weights.table import (
    MARKERS,
    State,
    Table,
    mismatches,
    renamed,
    shapes,
    shapes_of,
    some,
    under,
)

DENOISER = "model.diffusion_model."
FIRST_STAGE = "first_stage_model."
EMA = "model_ema."
SCALE = "scale_factor"
SCHEDULE = tuple(schedule(np.array([0.5, 0.5])))
# held by files, and no part of the model: counters, tables, losses, a head that nobody calls, a
# network that estimates depth, the tables of the upscaler's noise
ASIDE = re.compile(
    rf"{MARKERS.pattern}|{'|'.join(SCHEDULE)}|logvar|{EMA}(decay|num_updates)"
    rf"|({FIRST_STAGE}|{CONDITIONER})(loss|model_ema)\..*|(depth_model|low_scale_model)\..*"
    + "".join(f"|{re.escape(CONDITIONER + key)}" for key in TEXT_UNUSED)
    + f"|{re.escape(CONDITIONER)}({CLIP_UNUSED})"
)


class Names(NamedTuple):
    """What each parameter of a model is called, as rows under "denoiser/" and so on.

    copies: keys under which a file holds a weight once more -> the key that has a row
    unused: patterns of further keys that it may hold
    bare:   it has no prefixes, no averages, no scale and no tables of the process (GLIDE)
    """

    table: Table
    copies: Mapping[str, str]
    unused: tuple[str, ...] = ()
    bare: bool = False


def names(
    config: UNet, channels: int, out_channels: int, first_stage: Table, condition: ConditionNames
) -> Names:
    """Rows of a whole model.

    Args:
        channels: of the latents.
        first_stage: rows of the first stage alone.
    """
    denoiser = unet(config, channels + condition.concat, out_channels, condition.tokens)
    table = [
        *under(denoiser, "denoiser/", "" if condition.bare else DENOISER),
        *under(condition.table, "conditioner/"),
        *under(first_stage, "first_stage/", FIRST_STAGE),
    ]
    again = [key for row in first_stage for key in row.keys] if condition.copies else []
    copies = {CONDITIONER + key: FIRST_STAGE + key for key in again}
    return Names(table, copies, condition.unused, condition.bare)


class Parts(NamedTuple):
    """What a file holds.

    weights:  keys of the table -> weights, as of the last step
    averages: keys of the denoiser's part of the table -> averaged weights, or nothing
    aside:    what is no part of the model
    scale:    of the latents, None where the file does not say
    """

    weights: State
    averages: State
    aside: State
    scale: float | None


def averaged_key(key: str) -> str:
    """What a file calls the average of a weight of the denoiser."""
    return EMA + key.removeprefix("model.").replace(".", "")


def parts(names: Names, state: State) -> tuple[Parts, list[str]]:
    """What a file holds, and what is wrong with it."""
    found, wanted = shapes_of(state), shapes(names.table)
    averages = {key: averaged_key(key) for key in wanted if key.startswith("model.")}
    if not any(average in found for average in averages.values()):
        averages = {}
    patterns = [ASIDE, *map(re.compile, names.unused)]
    aside = {key for key in found if any(p.fullmatch(key) for p in patterns)} - wanted.keys()
    others = {*aside, *averages.values(), *names.copies, SCALE}
    wrong = mismatches(names.table, {k: s for k, s in found.items() if k not in others})
    if averages:
        rows = [
            row._replace(keys=tuple(averages[key] for key in row.keys))
            for row in names.table
            if row.keys[0] in averages
        ]
        wrong += mismatches(rows, {k: found[k] for k in averages.values() if k in found})
    differ = [
        f"{key} differs from {there}: expected the same weight again"
        for key, there in sorted(names.copies.items())
        if key in found and not np.array_equal(state[key], state[there])
    ]
    wrong += some(differ, "differ")
    held = Parts(
        renamed(state, {key: key for key in wanted}),
        renamed(state, averages),
        renamed(state, {key: key for key in sorted(aside)}),
        float(state[SCALE]) if SCALE in found else None,
    )
    return held, wrong
