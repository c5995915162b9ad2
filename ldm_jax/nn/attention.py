"""Attention: one function, and the two layers that use it on images and on tokens."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.nn.cpu.blockwise import blockwise
from ldm_jax.nn.cpu.recomputed import recomputed
from ldm_jax.nn.dense import dense
from ldm_jax.nn.norm import group_norm
from ldm_jax.nn.repeat import repeated
from ldm_jax.nn.splash import splash
from ldm_jax.runtime.sharding import each_device
from ldm_jax.types import Array

LONG = 4096  # queries and keys, from which a kernel outweighs its padding on a TPU
FEW = 2**18  # scores of a head that a CPU computes all at once
BLOCK = 2**21  # scores that a CPU computes at a time: fewer cost more calls, more leave its caches


def attention(q: Array, k: Array, v: Array, mask: Array | None = None) -> Array:
    """softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, eq. 1), scores in float32.

    Chosen by the device and the number of scores:
    a GPU in 16 bits takes cuDNN's kernel, where it fits; a TPU takes Splash, where it helps (see
    `helps_tpu`) and it is known which device holds which heads (see `sharding.each_device`);
    otherwise few scores take the formula, and many are computed by blocks of queries (see
    `blockwise`). A CPU takes heads of few scores at once (see `recomputed`), and blocks one by one.

    Args:
        q: [B, n, heads, d].
        k, v: [B, m, heads, d].
        mask: [B, m] bool, which of the m may be attended to; None: all.

    Returns:
        [B, n, heads, d].
    """
    B, n, heads, _ = q.shape
    backend = jax.default_backend()
    if backend == "gpu" and fits_cudnn(q):
        return jax.nn.dot_product_attention(q, k, v, mask=_rows(mask, n), implementation="cudnn")
    if backend == "tpu" and mask is None and helps_tpu(q, k):
        spread = each_device(splash, B, heads)
        if spread is not None:
            return spread(q, k, v)
    scores = n * k.shape[1]  # of a head
    if backend != "cpu":
        if B * heads * scores <= 2**28:
            return jax.nn.dot_product_attention(q, k, v, mask=_rows(mask, n))
        return blockwise(q, k, v, mask, block=2**28, serial=False)
    in_turn = recomputed if scores <= FEW else functools.partial(blockwise, block=BLOCK)
    if jax.device_count() == 1:
        return in_turn(q, k, v, mask)
    spread = each_device(in_turn, B, heads) if mask is None else None
    return spread(q, k, v) if spread else in_turn(q, k, v, mask, serial=False)


def fits_cudnn(q: Array) -> bool:
    """Whether cuDNN's flash attention takes heads of this width and type, [..., d]."""
    return q.dtype in (jnp.bfloat16, jnp.float16) and q.shape[-1] % 8 == 0 and q.shape[-1] <= 128


def helps_tpu(q: Array, k: Array) -> bool:
    """Whether `splash` is the better choice on a TPU for q [B, n, heads, d] and k [B, m, heads, d].

    Below `LONG` (a 64 x 64 latent; MaxDiffusion's choice, too) the scores of a head are small, and
    with 77 tokens two thirds of the kernel's input would be padding: there the formula is used.
    """
    return q.dtype in (jnp.float32, jnp.bfloat16) and min(q.shape[1], k.shape[1]) >= LONG


def _rows(mask: Array | None, n: int) -> Array | None:
    """[B, m] -> [B, 1, n, m]."""
    if mask is None:
        return None
    return jnp.broadcast_to(mask[:, None, None, :], (len(mask), 1, n, mask.shape[1]))


class MultiHeadAttention(nn.Module):
    """Attention from x [B, n, C] to context [k B, m, D] (to x itself where it is None)."""

    heads: int
    head_dim: int
    dtype: str = "float32"  # of all but the scores

    @nn.compact
    def __call__(self, x, context=None, mask=None, entries=()):
        """Returns [k B, n, C].

        Args:
            entries: (k, v, weight), keys and values [k B, m, heads head_dim]. Of weight None: those
                of the context, computed before. Of a weight, a number or [k B]: further ones,
                whose output is added that many times.
        """
        context = x if context is None else context
        width = self.heads * self.head_dim

        def project(y, name):
            return dense(width, name, use_bias=False, dtype=self.dtype)(y)

        def split(y):
            return y.reshape(*y.shape[:-1], self.heads, self.head_dim)

        known = [(k, v) for k, v, weight in entries if weight is None]
        further = [entry for entry in entries if entry[2] is not None]
        count = max(len(context), *(len(k) for k, _, _ in entries), 0)
        q = split(repeated(project(x, "q"), count))
        if known:
            k, v = (y.astype(self.dtype) for y in known[0])
        else:
            k, v = project(context, "k"), project(context, "v")
        k, v = (split(repeated(y, count)) for y in (k, v))
        y = attention(q, k, v, None if mask is None else repeated(mask, count))
        for k, v, weight in further:
            k, v = (split(repeated(one.astype(self.dtype), count)) for one in (k, v))
            weight = jnp.asarray(weight, y.dtype)
            if weight.ndim:
                weight = repeated(weight, count).reshape(-1, 1, 1, 1)
            y += weight * attention(q, k, v)
        out = dense(x.shape[-1], "out", dtype=self.dtype)
        return out(y.reshape(*y.shape[:2], -1))


class SpatialSelfAttention(nn.Module):
    """Residual self-attention between the positions of an image x [B, h, w, C].

    The UNet's AttentionBlock (head-major qkv, epsilon 1e-5, starts as the identity) and the
    autoencoder's AttnBlock (one head, epsilon 1e-6) are both this layer. With a context the
    positions attend to its tokens and to each other at once (Nichol et al. 2022, section 2.3).
    """

    heads: int
    groups: int
    epsilon: float
    zero_init: bool
    dtype: str = "float32"  # of all but the norm and the scores

    @nn.compact
    def __call__(self, x, context=None, mask=None):
        """context [k B, m, D] and mask [k B, m] or None -> [k B, h, w, C]; k is 1 without them."""
        B, h, w, C = x.shape
        y = group_norm(x, self.groups, self.epsilon, "norm").reshape(B, h * w, C)
        qkv = dense(3 * C, "qkv", dtype=self.dtype)(y)
        # head-major: the channels are laid out [heads, (q, k, v), d]
        q, k, v = jnp.moveaxis(qkv.reshape(B, h * w, self.heads, 3, C // self.heads), 3, 0)
        if context is not None:
            B, m, _ = context.shape
            kv = dense(2 * C, "context", dtype=self.dtype)(context)
            kv = jnp.moveaxis(kv.reshape(B, m, self.heads, 2, C // self.heads), 3, 0)
            q, *image = (repeated(one, B) for one in (q, k, v))
            k, v = (jnp.concatenate(both, axis=1) for both in zip(kv, image, strict=True))
            if mask is not None:
                mask = jnp.concatenate([repeated(mask, B), jnp.ones((B, h * w), bool)], axis=1)
        y = attention(q, k, v, mask).reshape(B, h * w, C)
        init = nn.initializers.zeros if self.zero_init else nn.linear.default_kernel_init
        out = dense(C, "out", kernel_init=init, dtype=self.dtype)
        return repeated(x, B) + out(y).reshape(B, h, w, C)
