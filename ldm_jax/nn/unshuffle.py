"""The pixels of blocks as channels."""

from ldm_jax.types import Array


def unshuffled(x: Array, r: int) -> Array:
    """[B, h r, w r, C] -> [B, h, w, C r^2].

    The channel c of row dy and column dx of a block is channel c r^2 + dy r + dx, as in PyTorch.
    """
    B, H, W, C = x.shape
    x = x.reshape(B, H // r, r, W // r, r, C).transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(B, H // r, W // r, C * r * r)
