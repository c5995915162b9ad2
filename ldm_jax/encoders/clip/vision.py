"""CLIP's image encoder, a vision transformer (Radford et al. 2021, section 2.4)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import numpy as np

from ldm_jax.encoders.clip.transformer import Block
from ldm_jax.errors import InputError
from ldm_jax.nn.patches import Patches
from ldm_jax.settings import AtLeast1
from ldm_jax.types import Array

# mean and deviation of the published models' training images, with values 0 ... 1
MEAN = np.asarray([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.asarray([0.26862954, 0.26130258, 0.27577711], np.float32)


def normalised(x: Array) -> Array:
    """[..., 3] of 0 ... 1 -> the encoder's input."""
    return (x - MEAN) / STD


class Architecture(NamedTuple):
    """The size of an image encoder.

    dim:   of the space that images and captions share
    patch: pixels a side
    size:  pixels a side of images
    """

    channels: int
    layers: int
    heads: int
    dim: int
    patch: int
    size: int


ARCHITECTURES = {  # table 20 of the paper
    "vit_b32": Architecture(768, 12, 12, 512, 32, 224),
    "vit_b16": Architecture(768, 12, 12, 512, 16, 224),
    "vit_l14": Architecture(1024, 24, 16, 768, 14, 224),
    "vit_l14_336": Architecture(1024, 24, 16, 768, 14, 336),
}


class CLIPImageEncoder(nn.Module):
    """Images to embeddings."""

    of: Architecture
    activation: str = "openai"  # or "openclip"

    @nn.compact
    def __call__(self, x, hidden: bool | Literal["last"] = False) -> Array:
        """x [B, size, size, 3], normalised -> [B, dim], not of unit length.

        Args:
            hidden: returns what enters the last block instead, [B, 1 + patches, channels]; "last":
                what leaves it.
        """
        y = Patches(self.of.channels, self.of.patch, use_bias=False, name="patches")(x)
        y = y + self.param("position", nn.initializers.normal(0.02), y.shape[1:])
        y = nn.LayerNorm(epsilon=1e-5, name="norm_in")(y)
        for n in range(self.of.layers - (hidden is True)):
            y = Block(self.of.heads, causal=False, activation=self.activation, name=f"block_{n}")(y)
        if hidden:
            return y
        y = nn.LayerNorm(epsilon=1e-5, name="norm")(y[:, 0])
        return nn.Dense(self.of.dim, use_bias=False, name="project")(y)


@dataclass(frozen=True)
class VisionSettings:
    """Which image encoder it is; defaults are OpenAI's ViT-L/14."""

    weights: Literal["openai", "openclip"] = "openai"  # whose: decides the activation
    channels: AtLeast1 = 1024  # width of the transformer
    layers: AtLeast1 = 24  # transformer blocks
    num_heads: AtLeast1 = 16  # attention heads
    dim: AtLeast1 = 768  # of an embedding
    patch: AtLeast1 = 14  # pixels a side
    size: AtLeast1 = 224  # pixels a side of the encoder's input

    @property
    def architecture(self) -> Architecture:
        sizes = self.channels, self.layers, self.num_heads, self.dim
        return Architecture(*sizes, self.patch, self.size)

    @property
    def network(self) -> CLIPImageEncoder:
        """The image encoder."""
        return CLIPImageEncoder(self.architecture, self.weights)

    def check(self, prefix: str) -> None:
        """Raises InputError where the sizes cannot go together; `prefix` is of its fields."""
        for name, of in (("num_heads", "channels"), ("patch", "size")):
            if getattr(self, of) % getattr(self, name):
                raise InputError(
                    f"{prefix}{name} is {getattr(self, name)}: expected a divisor of "
                    f"{prefix}{of}, {getattr(self, of)}"
                )
