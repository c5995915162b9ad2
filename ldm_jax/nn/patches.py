"""An image as a sequence (Dosovitskiy et al. 2021, eq. 1)."""

import flax.linen as nn
import jax.numpy as jnp


class Patches(nn.Module):
    """A projection of each patch, after a learned class token or one that is given."""

    channels: int
    patch: int  # pixels a side
    use_bias: bool

    @nn.compact
    def __call__(self, x, token=None):
        """x [B, H, W, 3], token [B, C] or None -> [B, 1 + (H / patch) (W / patch), C]."""
        B, H, W, _ = x.shape
        p, C = self.patch, self.channels
        x = x.reshape(B, H // p, p, W // p, p, 3).transpose(0, 1, 3, 2, 4, 5)
        y = nn.Dense(C, use_bias=self.use_bias, name="project")(x.reshape(B, -1, p * p * 3))
        if token is None:
            token = self.param("token", nn.initializers.normal(0.02), (C,))
            token = jnp.broadcast_to(token, (B, C))
        return jnp.concatenate([token[:, None], y], axis=1)
