"""Attention on a TPU by Splash, JAX's own kernel of FlashAttention's kind.

The kernel never writes scores to memory, in the forward or backward pass. It needs widths that fill
lanes and lengths of whole blocks; inputs are padded to these, which does not change the result.
"""

import math

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
from jax.experimental.pallas.ops.tpu.splash_attention.splash_attention_mask import (
    FullMask,
    MultiHeadMask,
)

from ldm_jax.types import Array

LANES = 128  # values in a row of a TPU's registers
BLOCK = 512  # queries, and keys, at a time: 1 MiB of scores in float32


def splash(q: Array, k: Array, v: Array, interpret: bool = False) -> Array:
    """softmax(q k^T / sqrt(d)) v, scores in float32.

    A program that the compiler does not divide over devices: see `sharding.each_device`. It was
    compiled for TPUs and run in Pallas's interpreter, but never on a TPU.

    Args:
        q: [B, n, heads, d] float32 or bfloat16.
        k, v: [B, m, heads, d].
        interpret: runs anywhere, slowly.

    Returns:
        [B, n, heads, d].
    """
    (_, n, heads, d), m = q.shape, k.shape[1]
    q = (q.astype(jnp.float32) * d**-0.5).astype(q.dtype)  # by the width before padding
    rows, columns = (min(BLOCK, _up(length, LANES)) for length in (n, m))
    q = _filled(q, rows)
    k, v = (_filled(x, columns) for x in (k, v))
    n_up, m_up = q.shape[2], k.shape[2]
    attend = kernel.make_splash_mha_single_device(
        MultiHeadMask([FullMask((n_up, m_up))] * heads),
        block_sizes=kernel.BlockSizes(
            block_q=rows,
            block_kv=columns,
            block_q_dkv=rows,
            block_kv_dkv=columns,
            block_q_dq=rows,
            block_kv_dq=columns,
        ),
        interpret=interpret,
    )
    segments = None
    if m_up > m:  # queries attend to keys of their own segment, not to padding
        there = (jnp.arange(m_up) < m).astype(jnp.int32)
        segments = kernel.SegmentIds(jnp.ones(n_up, jnp.int32), there)
    o = jax.vmap(attend, (0, 0, 0, None))(q, k, v, segments)  # [B, heads, n_up, d_up]
    return jnp.swapaxes(o, 1, 2)[:, :n, :, :d]


def _filled(x: Array, rows: int) -> Array:
    """[B, n, heads, d] -> [B, heads, whole blocks of `rows`, whole lanes], with zeros."""
    x = jnp.swapaxes(x, 1, 2)
    _, _, n, d = x.shape
    return jnp.pad(x, ((0, 0), (0, 0), (0, _up(n, rows) - n), (0, _up(d, LANES) - d)))


def _up(size: int, unit: int) -> int:
    """The least multiple of `unit` that is not below `size`."""
    return math.ceil(size / unit) * unit
