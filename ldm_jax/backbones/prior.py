"""The prior of unCLIP (Ramesh et al. 2022, section 2.2): image embeddings from captions.

A causal transformer over the tokens of a caption, its embedding, the timestep and the noised image
embedding; the output at a last, learned token is the image embedding without noise.
"""

from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from ldm_jax.backbones.settings import BackboneSettings
from ldm_jax.encoders.clip.transformer import Block
from ldm_jax.errors import InputError
from ldm_jax.nn.dense import dense
from ldm_jax.nn.embedding import step_embedding, two_layers
from ldm_jax.nn.repeat import repeated
from ldm_jax.settings import AtLeast1
from ldm_jax.types import Array, Backbone, Cond, Params

FURTHER = 4  # tokens after the caption's: its embedding, timestep, image embedding, output


@dataclass(frozen=True)
class PriorTransformer(BackboneSettings):
    """The prior's network; defaults are those of Karlo v1.0-alpha, half as deep as the paper's."""

    channels: AtLeast1 = 2048  # width of the tokens
    layers: AtLeast1 = 20  # transformer blocks
    num_heads: AtLeast1 = 32  # attention heads
    length: AtLeast1 = 77  # tokens of a caption
    vector_dim: AtLeast1 = 768  # of a caption's embedding

    karlo: ClassVar = "prior"

    @property
    def places(self) -> int:
        """Tokens of the sequence."""
        return self.length + FURTHER

    @property
    def vector_width(self) -> int:
        return self.vector_dim

    def heads(self, prefix: str) -> list[tuple[str, int]]:
        return [(f"{prefix}num_heads", self.num_heads)]

    def check(self, prefix: str) -> None:
        if self.channels % self.num_heads:
            raise InputError(
                f"{prefix}num_heads is {self.num_heads}: expected a divisor of {prefix}channels, "
                f"which is {self.channels}"
            )

    def build(self, in_channels: int, out_channels: int) -> Backbone:
        """For embeddings [B, 1, 1, in_channels]."""
        module = PriorModule(self, out_channels)

        def init(key: Array, cond: Cond) -> Params:
            z = jnp.zeros((1, 1, 1, in_channels))
            return module.init(key, z, jnp.zeros(1, jnp.int32), cond)["params"]

        def apply(params: Params, z: Array, timestep: Array, cond: Cond) -> Array:
            return module.apply({"params": params}, z, timestep, cond)

        return Backbone(init, apply, shares=True)


class PriorModule(nn.Module):
    """The network."""

    of: PriorTransformer
    out_channels: int

    @nn.compact
    def __call__(self, z, timestep, cond: Cond):
        """z [B, 1, 1, d], timestep [B]; tokens [k B, n, ...] and a vector [k B, e] of captions
        -> [k B, 1, 1, out]. Where the condition has a mask, tokens outside of it are not attended
        to."""
        of, init = self.of, nn.initializers.normal(0.01)
        check_caption(of, cond)
        k_B, C = len(cond.tokens), of.channels
        time = two_layers(step_embedding(timestep, C), C, "time")
        image = dense(C, "in")(z[:, 0, 0])
        further = [
            dense(C, "vector")(cond.vector),
            repeated(time, k_B),
            repeated(image, k_B),
            jnp.broadcast_to(self.param("query", init, (C,)), (k_B, C)),
        ]
        x = jnp.concatenate([dense(C, "tokens")(cond.tokens), jnp.stack(further, axis=1)], axis=1)
        x += self.param("position", init, x.shape[1:])
        mask = cond.mask
        if mask is not None:
            mask = jnp.pad(mask, ((0, 0), (0, FURTHER)), constant_values=True)
        for i in range(of.layers):
            x = Block(of.num_heads, causal=True, activation="openclip", name=f"block_{i}")(x, mask)
        x = nn.LayerNorm(epsilon=1e-5, name="norm")(x[:, -1])
        return dense(self.out_channels, "out")(x)[:, None, None]


def check_caption(of: PriorTransformer, cond: Cond) -> None:
    """Raises InputError for a condition that is no caption of the settings' length and width."""
    if cond.tokens is None or cond.vector is None:
        raise InputError(
            "conditions has no captions with an embedding: expected those of a prior, such as "
            "Captions(encoders=(CLIPText(),), pooled=(0,))"
        )
    if cond.tokens.shape[1] != of.length:
        raise InputError(
            f"model.length is {of.length}: expected {cond.tokens.shape[1]}, the tokens of a caption"
        )
    if cond.vector.shape[1] != of.vector_dim:
        raise InputError(
            f"model.vector_dim is {of.vector_dim}: expected {cond.vector.shape[1]}, the width of a "
            "caption's embedding"
        )
