"""The transformer of a StyleAdapter (Mou et al. 2023)."""

import flax.linen as nn
import jax.numpy as jnp

from ldm_jax.encoders.clip.transformer import Block


class Style(nn.Module):
    """Tokens of an image encoder -> tokens of a style."""

    tokens: int
    depth: int
    heads: int
    into: int  # width of the tokens that come out

    @nn.compact
    def __call__(self, x):
        """x [B, places, C] -> [B, tokens, into]."""
        own = self.param("queries", nn.initializers.normal(0.02), (self.tokens, x.shape[2]))
        x = jnp.concatenate([x, jnp.broadcast_to(own, (len(x), *own.shape))], axis=1)
        x = nn.LayerNorm(epsilon=1e-5, name="norm_in")(x)
        for n in range(self.depth):
            x = Block(self.heads, causal=False, activation="openai", name=f"block_{n}")(x)
        x = nn.LayerNorm(epsilon=1e-5, name="norm")(x[:, -self.tokens :])
        return nn.Dense(self.into, use_bias=False, name="project")(x)
