"""A classifier of noised latents: half a UNet (Dhariwal and Nichol 2021, section 4.1, app. H)."""

from dataclasses import asdict, dataclass

import flax.linen as nn
import jax.numpy as jnp

from ldm_jax.backbones.unet import EPSILON, UNCONDITIONAL, UNet, encode, start
from ldm_jax.nn.attention import attention
from ldm_jax.nn.norm import group_norm
from ldm_jax.settings import AtLeast1, Factors, Levels


@dataclass(frozen=True)
class Classifier:
    """The UNet's encoder with a classifier head; defaults are those of Dhariwal and Nichol (2021)
    for 64 pixels."""

    channels: AtLeast1 = 128  # of the first level
    channel_mults: Levels = (1, 2, 3, 4)  # channels of each level, in those of the first
    num_res_blocks: AtLeast1 = 4  # residual blocks of a level
    attention_factors: Factors = (2, 4, 8)  # downsampling factors with attention
    head_channels: AtLeast1 = 64  # width of an attention head
    scale_shift: bool = True  # time scales and shifts norms; False: it is added
    resample_blocks: bool = True  # change the resolution within a block; False: by a convolution
    norm_groups: AtLeast1 = 32  # of group normalisation; fewer where channels are few


class ClassifierModule(nn.Module):
    """The UNet's encoder and middle, then attention pooling over all positions."""

    config: Classifier
    num_classes: int

    @nn.compact
    def __call__(self, z, steps):
        """z [B, h, w, c], steps [B] counted from 0 -> logits [B, num_classes]."""
        c = self.config
        layers, z = start(UNet(**asdict(c)), z, steps, UNCONDITIONAL)
        _, x = encode(layers, z)
        x = nn.silu(group_norm(x, c.norm_groups, EPSILON, "norm_out"))
        return AttentionPool(c.head_channels, self.num_classes, name="pool")(x)


class AttentionPool(nn.Module):
    """Attention pooling with the mean as the query, as in CLIP (Radford et al. 2021, sec. 2.4)."""

    head_channels: int
    out_channels: int

    @nn.compact
    def __call__(self, x):
        """[B, h, w, C] -> [B, out_channels]; h and w are those of the first call."""
        B, h, w, C = x.shape
        x = x.reshape(B, h * w, C)
        x = jnp.concatenate([jnp.mean(x, axis=1, keepdims=True), x], axis=1)
        x += self.param("positions", nn.initializers.normal(C**-0.5), (h * w + 1, C))
        # the channels are laid out [(q, k, v), heads, d], other than in the blocks before
        qkv = nn.Dense(3 * C, name="qkv")(x).reshape(B, h * w + 1, 3, -1, self.head_channels)
        q, k, v = jnp.moveaxis(qkv, 2, 0)
        mean = attention(q[:, :1], k, v).reshape(B, C)  # only the mean is a query
        return nn.Dense(self.out_channels, name="out")(mean)
