"""Attention by blocks of queries, whose scores are computed again on the way back.

As FlashAttention (Dao et al. 2022) has it: softmax(s) of scores s = q k^T / sqrt(d) is kept as its
normaliser alone, L = log sum exp(s), one number a query, and p = exp(s - L) is found again where it
is needed. So there are never more scores than those of one block.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ldm_jax.types import Array


def blockwise(
    q: Array, k: Array, v: Array, mask: Array | None = None, block: int = 2**18, serial: bool = True
) -> Array:
    """softmax(q k^T / sqrt(d)) v, scores in float32.

    Args:
        q: [B, n, heads, d].
        k, v: [B, m, heads, d].
        mask: [B, m] bool, which of the m may be attended to; None: all.
        block: most scores at a time; one row of queries is the least.
        serial: one head after the other, not all at once.

    Returns:
        [B, n, heads, d]. Where nothing may be attended to, the mean of v.
    """
    B, n, heads, _ = q.shape
    m = k.shape[1]
    bias = jnp.zeros((B, m), jnp.float32)
    if mask is not None:
        bias = jnp.where(mask, bias, -1e30)
    most = max(1, block // (B * m * (1 if serial else heads)))
    rows = next(rows for rows in range(min(n, most), 0, -1) if n % rows == 0)
    each = jax.lax.map if serial else _at_once
    q, k, v = (jnp.moveaxis(x, 2, 0) for x in (q, k, v))
    return jnp.moveaxis(_attend(q, k, v, bias, rows, each), 0, 2)


def _at_once(function: Callable, inputs: Any) -> Any:
    return jax.vmap(function)(inputs)


def _blocks(x: Array, rows: int) -> Array:
    """[B, n, ...] -> [n / rows, B, rows, ...]."""
    return jnp.moveaxis(x.reshape(x.shape[0], -1, rows, *x.shape[2:]), 1, 0)


def _whole(blocks: Array) -> Array:
    """[n / rows, B, rows, ...] -> [B, n, ...]."""
    x = jnp.moveaxis(blocks, 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])


_einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def _scores(q: Array, k: Array, bias: Array) -> Array:
    """[B, r, d], [B, m, d], [B, m] -> [B, r, m] float32."""
    return _einsum("brd,bmd->brm", q, k) * q.shape[-1] ** -0.5 + bias[:, None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _attend(q, k, v, bias, rows, each):
    """q, k, v [heads, B, ..., d] -> [heads, B, n, d]."""
    return _forward(q, k, v, bias, rows, each)[0]


def _forward(q, k, v, bias, rows, each):
    def head(inputs):
        q, k, v = inputs

        def block(q):
            s = _scores(q, k, bias)
            most = jnp.max(s, axis=-1, keepdims=True)
            p = jnp.exp(s - most)
            total = jnp.sum(p, axis=-1, keepdims=True)
            o = _einsum("brm,bmd->brd", p.astype(v.dtype), v) / total
            return o.astype(v.dtype), (most + jnp.log(total))[..., 0]

        return jax.tree.map(_whole, jax.lax.map(block, _blocks(q, rows)))

    o, L = each(head, (q, k, v))
    return o, (q, k, v, bias, o, L)


def _backward(rows, each, kept, g):
    q, k, v, bias, o, L = kept

    def head(inputs):
        q, k, v, o, L, g = inputs
        D = _einsum("bnd,bnd->bn", g, o)  # dL/ds = p (g v^T - D), row by row

        def block(sums, now):
            q, g, L, D = now
            p = jnp.exp(_scores(q, k, bias) - L[..., None])
            ds = p * (_einsum("brd,bmd->brm", g, v) - D[..., None]) * q.shape[-1] ** -0.5
            p, ds = p.astype(v.dtype), ds.astype(q.dtype)
            dk, dv = sums
            # transposed sums: a CPU takes ten times as long where the scores are what is turned
            sums = dk + _einsum("brd,brm->bdm", q, ds), dv + _einsum("brd,brm->bdm", g, p)
            return sums, jnp.einsum("brm,bmd->brd", ds, k)

        none = jnp.zeros((k.shape[0], k.shape[2], k.shape[1]), jnp.float32)
        blocks = tuple(_blocks(x, rows) for x in (q, g, L, D))
        (dk, dv), dq = jax.lax.scan(block, (none, none), blocks)
        dk, dv = (jnp.swapaxes(x, 1, 2) for x in (dk, dv))
        return _whole(dq), dk.astype(k.dtype), dv.astype(v.dtype)

    return *each(head, (q, k, v, o, L, g)), None


_attend.defvjp(_forward, _backward)
