"""The original names of what turns conditions into what the denoiser is told."""

from typing import NamedTuple

from ldm_jax.config import Label, SemanticMap
from ldm_jax.convert.layers import dense, embedding
from ldm_jax.convert.table import Table, under

CONDITIONER = "cond_stage_model."
LABEL_VECTOR = "model.diffusion_model.label_emb"  # which the original counts to the denoiser


class ConditionNames(NamedTuple):
    """The weights of a conditioner under their whole keys, and what the denoiser gets from it."""

    table: Table = []  # noqa: RUF012
    tokens: int | None = None  # width of what is attended to; None: there is no such thing
    concat: int = 0  # input channels beside z
    copies: bool = False  # the first stage is held once more, as the conditioner


def conditioner(table: Table, **widths: int) -> ConditionNames:
    """Names of a conditioner whose keys are under their usual prefix."""
    return ConditionNames(under(table, there=CONDITIONER), **widths)


def label(config: Label) -> ConditionNames:
    """Class embeddings; with no class for none, as many as there are classes."""
    entries = config.num_classes + config.null
    if config.slot == "vector":
        return ConditionNames(embedding("embedding", LABEL_VECTOR, entries, config.dim))
    table = embedding("embedding", "embedding", entries, config.dim)
    return conditioner(table, tokens=config.dim)


def semantic_map(config: SemanticMap) -> ConditionNames:
    """The convolution of the original's rescaler, which has no bias."""
    sizes = config.num_classes, config.out_channels
    table = dense("classes", "channel_mapper", *sizes, ones=2, bias=False)
    return conditioner(table, concat=config.out_channels)
