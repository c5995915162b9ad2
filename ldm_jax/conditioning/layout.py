"""Layouts: boxes and what is in them, as tokens (Rombach et al. 2022, section 4.3.1).

The original's builder of conditions from objects and boxes, and its BERT-style encoder.
"""

import math

import jax.numpy as jnp

from ldm_jax.conditioning.text import TextTransformer
from ldm_jax.types import Array, Cond, Conditioner


def rows_of(vocab_size: int) -> int:
    """Rows, and as many columns, by which tokens number places in an image."""
    return math.isqrt(vocab_size)


def tokens_of(boxes: Array, vocab_size: int) -> Array:
    """[B, n, 5] -> [B, 3 n + 2] int32: class and two corners of each box, and two of the image.

    Args:
        boxes: x and y of the upper left corner, width and height, in [0, 1], and the class, which
            is negative where there is no box. A box beyond the image is cut at its border.
        vocab_size: the last token, vocab_size - 1, stands for what is missing.
    """
    none, rows = vocab_size - 1, rows_of(vocab_size)

    def place(x, y):
        x, y = (jnp.round(jnp.clip(p, 0.0, 1.0) * (rows - 1)).astype(jnp.int32) for p in (x, y))
        return y * rows + x

    x, y, width, height, kind = jnp.moveaxis(boxes, -1, 0)
    tokens = jnp.stack([kind.astype(jnp.int32), place(x, y), place(x + width, y + height)], axis=-1)
    tokens = jnp.where(kind[..., None] < 0, none, tokens)
    whole = jnp.array([0, rows * rows - 1])  # nothing is cut off
    whole = jnp.broadcast_to(whole, (len(boxes), 2))
    return jnp.concatenate([tokens.reshape(len(boxes), -1), whole], axis=1).astype(jnp.int32)


def layout(transformer: TextTransformer, max_objects: int) -> Conditioner:
    """Reads `batch["boxes"]` [B, max_objects, 5], see `tokens_of`; none at all: no condition."""

    def init(key):
        tokens = tokens_of(null(1)["boxes"], transformer.vocab_size)
        return transformer.init(key, tokens)["params"]

    def apply(params, inputs):
        tokens = tokens_of(inputs["boxes"], transformer.vocab_size)
        return Cond(tokens=transformer.apply({"params": params}, tokens))

    def null(n, h=1, w=1):
        return {"boxes": jnp.full((n, max_objects, 5), -1.0)}

    return Conditioner(init, apply, null, keys=("boxes",), dim=transformer.dim)
