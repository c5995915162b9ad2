"""The decoder of DALL-E 2 (Ramesh et al. 2022, section 2.1): GLIDE's UNet on CLIP's embeddings."""

from dataclasses import dataclass, fields
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.backbones.unet import EPSILON, UNet, unet
from ldm_jax.errors import InputError
from ldm_jax.nn.dense import dense
from ldm_jax.settings import AtLeast1, Factors, Levels
from ldm_jax.types import Array, Backbone, Cond, Params

PROJECT = "project"  # the part of the params that is not the UNet's


@dataclass(frozen=True)
class UnCLIPDecoder(UNet):
    """A UNet under a caption's tokens and embedding and an image's embedding; defaults are Karlo's.

    Both embeddings, projected, are added to the step's; the image's becomes tokens as well, before
    those of the caption. Its conditions are CLIPCaption and EmbeddedImage.
    """

    channel_mults: Levels = (1, 2, 3, 4)  # channels of each level, in those of the first
    num_res_blocks: AtLeast1 = 3  # residual blocks of a level
    attention_factors: Factors = (2, 4, 8)  # downsampling factors with attention
    head_channels: AtLeast1 | None = 64  # width of a head
    joint_attention: bool = True  # attention is to the tokens and the image at once
    scale_shift: bool = True  # the step scales and shifts inside residual blocks
    resample_blocks: bool = True  # residual blocks change the resolution
    vector_dim: AtLeast1 | None = 1536  # of the caption's embedding and the image's, joined
    extra_tokens: AtLeast1 = 4  # that an image's embedding becomes
    context_dim: AtLeast1 = 1536  # width of the tokens as they are attended to

    karlo: ClassVar = "decoder"

    def check(self, prefix: str) -> None:
        super().check(prefix)
        if not self.joint_attention:
            raise InputError(f"{prefix}joint_attention is False: expected True, as in GLIDE's UNet")
        if not self.vector_dim or self.vector_dim % 2:
            raise InputError(
                f"{prefix}vector_dim is {self.vector_dim}: expected twice the width of CLIP's "
                "embeddings, of a caption and of an image"
            )

    @property
    def unet(self) -> UNet:
        """The UNet, which reads what is projected."""
        own = {field.name: getattr(self, field.name) for field in fields(UNet)}
        return UNet(**own | {"vector_dim": None})

    def build(self, in_channels: int, out_channels: int) -> Backbone:
        inner, module = unet(self.unet, in_channels, out_channels), Projection(self)

        def project(params: Params, cond: Cond) -> Cond:
            return module.apply({"params": params[PROJECT]}, cond)

        def init(key: Array, cond: Cond) -> Params:
            keys = jax.random.split(key)
            own = {PROJECT: module.init(keys[0], cond)["params"]}
            projected = jax.eval_shape(project, own, cond)
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), projected)
            return {**inner.init(keys[1], zeros), **own}

        def apply(params: Params, z: Array, timestep: Array, cond: Cond) -> Array:
            own = {name: x for name, x in params.items() if name != PROJECT}
            return inner.apply(own, z, timestep, project(params, cond))

        return inner._replace(init=init, apply=apply)


class Projection(nn.Module):
    """What the UNet is given of CLIP's embeddings."""

    of: UnCLIPDecoder

    @nn.compact
    def __call__(self, cond: Cond) -> Cond:
        """vector [B, 2 d], a caption's embedding and an image's, tokens [B, n, e] and mask [B, n]
        -> vector [B, 4 channels], tokens [B, k + n, context_dim], mask [B, k + n].

        An image's embedding of zeros is none: it is replaced by one that is learned.
        """
        of, B = self.of, len(cond.tokens)
        text, image = jnp.split(cond.vector, 2, axis=-1)
        null = self.param("null", nn.initializers.normal(1.0), image.shape[1:])
        image = jnp.where(jnp.any(image != 0.0, axis=-1, keepdims=True), image, null)
        width, k, d = 4 * of.channels, of.extra_tokens, of.context_dim
        vector = dense(width, "caption")(text) + dense(width, "image")(image)
        extra = dense(k * d, "extra")(image).reshape(B, d, k)  # token j: outputs j, j + k, ...
        tokens = nn.LayerNorm(epsilon=EPSILON, name="norm")(dense(d, "tokens")(cond.tokens))
        tokens = jnp.concatenate([jnp.moveaxis(extra, 2, 1), tokens], axis=1)
        mask = cond.mask
        if mask is not None:
            mask = jnp.pad(mask, ((0, 0), (k, 0)), constant_values=True)
        return cond.replace(vector=vector, tokens=tokens, mask=mask)
