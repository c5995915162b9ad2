"""Attention by blocks of queries or keys, whose scores are recomputed in the backward pass.

As in FlashAttention (Dao et al. 2022): of the softmax of scores s = q k^T / sqrt(d) only its
normaliser L = log sum exp(s) is kept, one value a query; p = exp(s - L) is recomputed where it is
needed. So there are never more scores in memory than those of one block.
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
        block: most scores at a time; at least one row of queries. Where a head has more, the
            forward pass takes all queries and a block of keys.
        serial: computes heads one after the other, or as many as fit into a block, not all at once.

    Returns:
        [B, n, heads, d]. Where nothing may be attended to, the mean of v.
    """
    B, n, heads, _ = q.shape
    m = k.shape[1]
    rows = divisor(n, block // (m if serial else B * heads * m))
    together = divisor(B * heads, block // (n * m)) if serial else None
    columns = divisor(m, block // n) if serial and n * m > block else None
    q, k, v = (jnp.moveaxis(x, 2, 1) for x in (q, k, v))
    bias = None if mask is None else bias_of(mask, heads)
    return jnp.moveaxis(_attend(q, k, v, bias, rows, columns, together), 1, 2)


def bias_of(mask: Array, heads: int) -> Array:
    """The bias [B, heads, m] of the scores for a mask [B, m], so that p is zero where it is
    False."""
    bias = jnp.where(mask, 0.0, -1e30)[:, None]
    return jnp.broadcast_to(bias, (len(mask), heads, mask.shape[1]))


def divisor(count: int, most: int) -> int:
    """The greatest divisor that is at most `most`; 1 where there is none."""
    return next((d for d in range(min(count, most), 0, -1) if count % d == 0), 1)


def each_head(function: Callable, inputs: Any, together: int | None) -> Any:
    """Maps over the first two axes, `together` entries at a time; None: all."""
    if together is None:
        return jax.vmap(jax.vmap(function))(inputs)
    B, heads = jax.tree.leaves(inputs)[0].shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), inputs)
    found = jax.lax.map(function, flat, batch_size=together if together > 1 else None)
    return jax.tree.map(lambda x: x.reshape(B, heads, *x.shape[1:]), found)


def _blocks(x: Array, rows: int) -> Array:
    """[n, ...] -> [n / rows, rows, ...]."""
    return x.reshape(-1, rows, *x.shape[1:])


def _whole(blocks: Array) -> Array:
    """[n / rows, rows, ...] -> [n, ...]."""
    return blocks.reshape(-1, *blocks.shape[2:])


einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def scores(q: Array, k: Array, bias: Array) -> Array:
    """[r, d], [m, d], [m] or None -> [r, m] float32."""
    scale = q.shape[-1] ** -0.5
    if q.dtype == jnp.float32:  # scaling q loses no precision, and q is smaller than the scores
        s = einsum("rd,md->rm", q * scale, k)
    else:
        s = einsum("rd,md->rm", q, k) * scale
    return s if bias is None else s + bias


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _attend(q, k, v, bias, rows, columns, together):
    """q, k, v [B, heads, ..., d], bias [B, heads, m] or None -> [B, heads, n, d].

    The forward pass takes blocks of `columns` keys, or of `rows` queries where that is None; the
    backward pass blocks of queries.
    """
    return _forward(q, k, v, bias, rows, columns, together)[0]


def _forward(q, k, v, bias, rows, columns, together):
    def sums(p, v):  # of p v and of p
        if together is None:
            return einsum("rm,md->rd", p.astype(v.dtype), v), jnp.sum(p, axis=-1, keepdims=True)
        # one after the other: p need not be read again if its sum is one more column
        o = einsum("rm,md->rd", p.astype(v.dtype), jnp.append(v, jnp.ones_like(v[:, :1]), axis=1))
        return o[:, :-1], o[:, -1:]

    def by_keys(inputs):
        q, k, v, bias = inputs

        def block(so_far, now):
            o, total, most = so_far  # p = exp(s - most), most of the scores
            k, v, bias = now
            s = scores(q, k, bias)
            more = jnp.maximum(most, jnp.max(s, axis=-1, keepdims=True))
            o, total = (jnp.exp(most - more) * x for x in (o, total))
            of_these = sums(jnp.exp(s - more), v)
            return (o + of_these[0], total + of_these[1], more), None

        none = jnp.zeros((len(q), 1), jnp.float32)
        start = jnp.zeros_like(q, jnp.float32), none, none - jnp.inf
        blocks = jax.tree.map(lambda x: _blocks(x, columns), (k, v, bias))
        (o, total, most), _ = jax.lax.scan(block, start, blocks)
        return (o / total).astype(v.dtype), (most + jnp.log(total))[:, 0]

    def by_queries(inputs):
        q, k, v, bias = inputs

        def block(q):
            s = scores(q, k, bias)
            most = jnp.max(s, axis=-1, keepdims=True)
            o, total = sums(jnp.exp(s - most), v)
            return (o / total).astype(v.dtype), (most + jnp.log(total))[:, 0]

        return jax.tree.map(_whole, jax.lax.map(block, _blocks(q, rows)))

    o, L = each_head(by_keys if columns else by_queries, (q, k, v, bias), together)
    return o, (q, k, v, bias, o, L)


def _backward(rows, columns, together, kept, g):
    q, k, v, bias, o, L = kept
    D = einsum("bhnd,bhnd->bhn", g, o)  # dL/ds = p (g v^T - D), row by row
    scale = q.shape[-1] ** -0.5

    def head(inputs):
        q, k, v, bias, L, D, g = inputs

        def block(sums, now):
            q, g, L, D = now
            p = jnp.exp(scores(q, k, bias) - L[:, None])
            ds = p * (einsum("rd,md->rm", g, v) - D[:, None])
            p, ds = p.astype(v.dtype), ds.astype(q.dtype)
            dk, dv = sums
            # transposed sums: a CPU takes ten times as long to transpose the scores
            sums = dk + einsum("rd,rm->dm", q, ds), dv + einsum("rd,rm->dm", g, p)
            return sums, einsum("rm,md->rd", ds, k)

        none = jnp.zeros(k.shape[::-1], jnp.float32)
        blocks = tuple(_blocks(x, rows) for x in (q, g, L, D))
        (dk, dv), dq = jax.lax.scan(block, (none, none), blocks)
        dk, dv = jax.lax.optimization_barrier((dk, dv))  # not to be transposed before
        dq, dk = scale * _whole(dq), scale * dk  # instead of scaling ds
        return dq.astype(q.dtype), dk.T.astype(k.dtype), dv.T.astype(v.dtype)

    return *each_head(head, (q, k, v, bias, L, D, g), together), None


_attend.defvjp(_forward, _backward)
