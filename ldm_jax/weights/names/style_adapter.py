"""The names of a StyleAdapter's weights, as TencentARC/T2I-Adapter publishes them."""

from collections.abc import Mapping
from typing import NamedTuple

from ldm_jax.weights.names.clip import OPENCLIP, blocks
from ldm_jax.weights.names.ip_adapter import QUERIES
from ldm_jax.weights.names.layers import norm
from ldm_jax.weights.table import SAME, Row, Shape, Table

BLOCKS = "transformer_layes"  # so spelled


class Sizes(NamedTuple):
    """What the shapes in a file say.

    width: of the transformer, whose input are tokens of an image encoder
    into:  width of the tokens that come out
    """

    tokens: int
    width: int
    depth: int
    into: int


def table(of: Sizes) -> Table:
    """Its rows."""
    there = f"{OPENCLIP[0]}."
    rows = [
        row._replace(keys=tuple(key.replace(f"x.{there}", f"{BLOCKS}.") for key in row.keys))
        for row in blocks("x", of.depth, of.width, OPENCLIP)
    ]
    return [
        Row("queries", ("style_embedding",), (1, of.tokens, of.width), QUERIES),
        *norm("norm_in", "ln_pre", of.width),
        *rows,
        *norm("norm", "ln_post", of.width),
        Row("project/kernel", ("proj",), (of.width, of.into), SAME),
    ]


def recognised(shapes: Mapping[str, Shape]) -> Sizes | None:
    """The sizes of one, by the keys and shapes in a file; None: it is of something else."""
    if not {"style_embedding", "proj"} <= shapes.keys():
        return None
    _, tokens, width = shapes["style_embedding"]
    layers = [int(key.split(".")[1]) for key in shapes if key.startswith(f"{BLOCKS}.")]
    return Sizes(tokens, width, 1 + max(layers, default=-1), shapes["proj"][1])
