"""The UNet of latent diffusion, with cross-attention (Rombach et al. 2022, section 3.3)."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.config import UNet as Config
from ldm_jax.nn.attention import SpatialSelfAttention
from ldm_jax.nn.conv import Conv3x3
from ldm_jax.nn.embedding import step_embedding, two_layers
from ldm_jax.nn.norm import group_norm
from ldm_jax.nn.repeat import repeated
from ldm_jax.nn.resnet import Downsample, ResBlock, halved
from ldm_jax.nn.transformer import SpatialTransformer
from ldm_jax.nn.upsample import Upsample, doubled
from ldm_jax.types import Cond, Params

EPSILON = 1e-5
KEPT = {  # of what a block holds between the passes, by the config's `remat`
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}


def attended(params: Params, cond: Cond) -> Cond:
    """The condition with what cross-attention makes of its tokens, which no step changes.

    Args:
        params: of the `UNet`.
    """

    def keys_and_values(params):  # {name of a layer: ... {"k", "v"}}, where there are any below
        if "cross" in params:
            kernels = {name: params["cross"][name]["kernel"] for name in ("k", "v")}
            return {"cross": jax.tree.map(lambda kernel: cond.tokens @ kernel, kernels)}
        inner = {name: keys_and_values(p) for name, p in params.items() if isinstance(p, Mapping)}
        return {name: found for name, found in inner.items() if found}

    if cond.tokens is None:
        return cond
    return cond.replace(attended=keys_and_values(params) or None)


class UNet(nn.Module):
    """z and step to a prediction of z's shape.

    Where the condition has tokens, attention is a spatial transformer that attends to them;
    where it has none, it is plain self-attention, as in the original's unconditional models.
    """

    config: Config
    out_channels: int

    @nn.compact
    def __call__(self, z, steps, cond: Cond = Cond()):  # noqa: B008
        """z [B, h, w, c], steps [B] counted from 0 -> [k B, h, w, out_channels].

        The condition is one of k B, k of each latent one after the other. What comes before the
        first tokens is computed once for the k.
        """
        c, count = self.config, cond.count or len(z)
        if cond.vector is not None or cond.concat is not None:  # heard from the start
            z, steps = repeated(z, count), repeated(steps, count)

        def block(kind, *args, **settings):
            made = nn.remat(kind, policy=KEPT[c.remat]) if c.remat != "none" else kind
            return made(*args, **settings)

        def res(x, channels, name, resample=None):
            made = block(
                ResBlock,
                channels,
                c.norm_groups,
                EPSILON,
                zero_init=True,
                dtype=c.compute,
                scale_shift=c.scale_shift,
                resample=resample,
                name=name,
            )
            return made(x, repeated(embedding, len(x)))

        def attend(x, name, factor=None):
            channels = x.shape[-1]
            heads = channels // c.head_channels if c.head_channels else c.num_heads
            if cond.tokens is None:
                made = block(
                    SpatialSelfAttention,
                    heads,
                    c.norm_groups,
                    EPSILON,
                    zero_init=True,
                    dtype=c.compute,
                    name=name,
                )
                return made(x)
            transformer = block(
                SpatialTransformer,
                heads,
                channels // heads,
                c.transformer_depth,
                c.norm_groups,
                c.positions,
                cross_only=factor in c.cross_only_factors,
                dtype=c.compute,
                name=name,
            )
            return transformer(x, cond.tokens, cond.mask)

        def downsample(x, name):
            if c.resample_blocks:
                return res(x, x.shape[-1], name, halved)
            return Downsample(((1, 1), (1, 1)), c.compute, name=name)(x)

        def upsample(x, name):
            if c.resample_blocks:
                return res(x, x.shape[-1], name, doubled)
            return Upsample(c.compute, name=name)(x)

        width = 4 * c.channels
        embedding = two_layers(step_embedding(steps, c.channels), width, "time")
        if cond.vector is not None:
            vector = cond.vector
            if c.vector_entries:
                init = nn.initializers.normal(0.02)
                table = nn.Embed(c.vector_entries, width, embedding_init=init, name="vector")
                vector = table(vector)
            embedding += two_layers(vector, width, "vector") if c.vector_dim else vector
        if cond.concat is not None:
            z = jnp.concatenate([z, cond.concat], axis=-1)

        x = Conv3x3(c.channels, dtype=c.compute, name="conv_in")(z)
        skips = [x]
        last = len(c.channel_mults) - 1
        for level, mult in enumerate(c.channel_mults):
            for i in range(c.num_res_blocks):
                x = res(x, mult * c.channels, f"down_{level}_res_{i}")
                if 2**level in c.attention_factors:
                    x = attend(x, f"down_{level}_attn_{i}", 2**level)
                skips.append(x)
            if level < last:
                x = downsample(x, f"down_{level}_downsample")
                skips.append(x)

        x = res(x, x.shape[-1], "mid_res_0")
        x = attend(x, "mid_attn")
        x = res(x, x.shape[-1], "mid_res_1")
        x = repeated(x, count)
        if cond.residuals is not None:
            both = zip(skips, cond.residuals, strict=True)
            skips = [repeated(s, count) + r.astype(s.dtype) for s, r in both]

        for level, mult in reversed(list(enumerate(c.channel_mults))):
            for i in range(c.num_res_blocks + 1):
                x = jnp.concatenate([x, repeated(skips.pop(), len(x))], axis=-1)
                x = res(x, mult * c.channels, f"up_{level}_res_{i}")
                if 2**level in c.attention_factors:
                    x = attend(x, f"up_{level}_attn_{i}", 2**level)
            if level > 0:
                x = upsample(x, f"up_{level}_upsample")

        x = nn.silu(group_norm(x, c.norm_groups, EPSILON, "norm_out"))
        return Conv3x3(self.out_channels, zero_init=True, name="conv_out")(x)
