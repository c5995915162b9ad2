"""Attention of heads with few scores, which are recomputed in the backward pass.

The forward pass is the plain formula and keeps only q, k, v and the result. XLA's CPU backend then
makes one loop of both products and the softmax, over all heads, on all threads (a product alone
takes a single thread where a head has few scores). In the backward pass

    P = exp(s - max s),  r = 1 / sum P,  D = g . o,  dL/ds = P (r g v^T - r D)

so that no row of a score matrix is divided.
"""

import functools

import jax
import jax.numpy as jnp

from ldm_jax.nn.cpu.blockwise import bias_of, divisor, each_head, einsum, scores
from ldm_jax.types import Array


def recomputed(
    q: Array, k: Array, v: Array, mask: Array | None = None, block: int = 2**23, serial: bool = True
) -> Array:
    """softmax(q k^T / sqrt(d)) v, scores in float32.

    Args:
        q: [B, n, heads, d].
        k, v: [B, m, heads, d].
        mask: [B, m] bool, which of the m may be attended to; None: all.
        block: most scores at a time, of one head at least.
        serial: computes as many heads at a time as fit into a block, not all at once.

    Returns:
        [B, n, heads, d]. Where nothing may be attended to, the mean of v.
    """
    B, n, heads, _ = q.shape
    m = k.shape[1]
    bias = None if mask is None else bias_of(mask, heads)
    many = serial and B * heads * n * m > block
    together = divisor(B * heads, block // (n * m)) if many else None
    q, k, v = (jnp.moveaxis(x, 2, 1) for x in (q, k, v))
    return jnp.moveaxis(_attend(q, k, v, bias, together), 1, 2)


def _exponentials(q, k, bias):
    """p = exp(s - max s), [n, m]."""
    s = scores(q, k, bias)
    return jnp.exp(s - jnp.max(s, axis=-1, keepdims=True))


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(q, k, v, bias, together):
    """q, k, v [B, heads, ..., d], bias [B, heads, m] or None -> [B, heads, n, d]."""

    def head(inputs):
        q, k, v, bias = inputs
        p = _exponentials(q, k, bias)
        o = einsum("nm,md->nd", p.astype(v.dtype), v) / jnp.sum(p, axis=-1, keepdims=True)
        return o.astype(v.dtype)

    return each_head(head, (q, k, v, bias), together)


def _forward(q, k, v, bias, together):
    o = _attend(q, k, v, bias, together)
    return o, (q, k, v, bias, o)


def _backward(together, kept, g):
    scale = g.shape[-1] ** -0.5

    def head(inputs):
        q, k, v, bias, o, g = inputs
        p = _exponentials(q, k, bias)
        r = 1 / jnp.sum(p, axis=-1, keepdims=True)
        D = r * einsum("nd,nd->n", g, o)[:, None]
        g = (r * g).astype(g.dtype)
        ds = (p * (einsum("nd,md->nm", g, v) - D)).astype(q.dtype)
        # transposed: a CPU takes ten times as long to transpose the scores
        dk, dv = einsum("nd,nm->dm", q, ds), einsum("nd,nm->dm", g, p.astype(v.dtype))
        dk, dv = jax.lax.optimization_barrier((dk, dv))
        dq, dk = scale * einsum("nm,md->nd", ds, k), scale * dk
        return dq.astype(q.dtype), dk.T.astype(k.dtype), dv.T.astype(v.dtype)

    return *each_head(head, (*kept, g), together), None


_attend.defvjp(_forward, _backward)
