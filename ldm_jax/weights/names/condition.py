"""The original names of conditioners."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ldm_jax.weights.table import FLAT, Row, Table, under

CONDITIONER = "cond_stage_model."
LABEL_VECTOR = "model.diffusion_model.label_emb"  # which the original counts to the denoiser


class ConditionNames(NamedTuple):
    """The weights of a conditioner under their whole keys, and what the denoiser gets from it."""

    table: Table = []  # noqa: RUF012
    tokens: int | None = None  # width of the tokens; None: none
    concat: int = 0  # additional input channels
    copies: bool = False  # the first stage is held once more, as the conditioner
    unused: tuple[str, ...] = ()  # patterns of keys of a file that no model reads
    bare: bool = False  # its file has the denoiser and the conditioner without prefixes


class DiffusersParts(NamedTuple):
    """What a condition is in the folder that diffusers has of a model.

    pipeline:   the class that draws with a model whose last condition it is
    components: with weights -> where in the condition's params, and their rows
    small:      components without weights
    files:      by their places, as JSON
    index:      further entries of model_index.json, where it is the last condition
    note:       what is to be said of the folder
    """

    pipeline: str
    components: Mapping[str, tuple[str, Table]] = MappingProxyType({})
    small: tuple[str, ...] = ()
    files: Mapping[str, dict[str, Any]] = MappingProxyType({})
    index: Mapping[str, Any] = MappingProxyType({})
    note: str = ""


class DiffusersFacts(NamedTuple):
    """What a folder of diffusers says of a model, by which conditions know that it has them.

    components: with weights -> their config.json
    noising:    of image embeddings, the scheduler's settings
    extra:      input channels of the denoiser in addition to those of the latents
    channels:   of the latents
    factor:     pixels per latent in each direction
    levels:     of noise, which the denoiser has vectors for
    """

    components: Mapping[str, Mapping[str, Any]]
    noising: Mapping[str, Any]
    extra: int
    channels: int
    factor: int
    levels: int | None


ABSENT = [None, None]  # a component that a pipeline may have, in model_index.json


def part(i: int) -> str:
    """Where in the params of a conditioner those of the i-th condition are, but for the first's."""
    return "beside" if i == 1 else f"beside_{i}"


def joined(each: Sequence[ConditionNames]) -> ConditionNames:
    """The names of several conditions of one model."""
    if len(each) == 1:
        return each[0]
    return ConditionNames(
        [row for i, x in enumerate(each) for row in under(x.table, f"{part(i)}/" if i else "")],
        tokens=next((x.tokens for x in each if x.tokens), None),
        concat=sum(x.concat for x in each),
        unused=tuple(pattern for x in each for pattern in x.unused),
        bare=any(x.bare for x in each),
    )


def conditioner(table: Table, **widths: int) -> ConditionNames:
    """Names of a conditioner whose keys are under their usual prefix."""
    return ConditionNames(under(table, there=CONDITIONER), **widths)


EMBEDDER = "embedder.model."  # of images, in addition to captions
AUGMENTOR = "noise_augmentor."  # of what it embeds
# of a whole CLIP in a file, whose image encoder alone is read
CAPTIONS = r"(transformer\..*|token_embedding\.weight|positional_embedding|ln_final\..*)"
CAPTIONS += r"|text_projection"
# mean and deviation of embeddings, which files hold where they are not these
STATISTICS = {f"{AUGMENTOR}data_mean": 0.0, f"{AUGMENTOR}data_std": 1.0}


def clip_image(encoder: Table, dim: int) -> ConditionNames:
    """The image encoder of image variations, inside a whole CLIP."""
    there = f"{CONDITIONER}model."
    return ConditionNames(
        under(encoder, "tower/", there), tokens=dim, unused=(f"{re.escape(there)}({CAPTIONS})",)
    )


def unclip(encoder: Table, dim: int) -> ConditionNames:
    """That of Stable Diffusion 2.1 unCLIP, and the statistics of its embeddings."""
    mean, std = (
        Row(name, (key,), (1, dim), FLAT)
        for name, key in zip(("mean", "std"), STATISTICS, strict=True)
    )
    return ConditionNames(
        [*under(encoder, "tower/", EMBEDDER), mean, std],
        unused=(f"{re.escape(EMBEDDER)}({CAPTIONS})", f"{re.escape(AUGMENTOR)}(?!data_).*"),
    )
