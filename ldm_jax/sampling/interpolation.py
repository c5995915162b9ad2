"""Between two noises, and between two conditions."""

import jax.numpy as jnp

from ldm_jax.types import Array, Cond


def slerp(a: Array, b: Array, w: Array) -> Array:
    """Spherical interpolation (Shoemake 1985), [N, *shape] from a at w = 0 to b at w = 1.

    (sin((1 - w) angle) a + sin(w angle) b) / sin(angle), with the angle between a and b. Gaussian
    latents lie near a sphere; a straight line between two of them passes where hardly any lie.

    Args:
        a, b: [N, *shape], neither zero nor opposite.
        w: [N].
    """
    axes = tuple(range(1, a.ndim))
    w = jnp.reshape(w, (-1,) + (1,) * len(axes))

    def norm(x):
        return jnp.sqrt(jnp.sum(jnp.square(x), axes, keepdims=True))

    u, v = a / norm(a), b / norm(b)
    angle = 2.0 * jnp.arctan2(norm(u - v), norm(u + v))  # exact for small angles, too
    sine = jnp.sin(angle)
    straight = sine < 1e-6  # where both formulas are the same, and this one is 0 / 0
    sine = jnp.where(straight, 1.0, sine)
    first = jnp.where(straight, 1.0 - w, jnp.sin((1.0 - w) * angle) / sine)
    second = jnp.where(straight, w, jnp.sin(w * angle) / sine)
    return first * a + second * b


def lerp(a: Array, b: Array, w: Array) -> Array:
    """(1 - w) a + w b, exactly a at w = 0 and b at w = 1; a, b [N, ...] and w [N]."""
    w = jnp.reshape(w, (-1,) + (1,) * (a.ndim - 1))
    return (1.0 - w) * a + w * b


def between(a: Cond, b: Cond, w: Array) -> Cond:
    """The condition a with its tokens and its vector on the straight line to those of b.

    What may be attended to is what either may; all else is a's, and so is a vector that is a place
    in a table.
    """
    tokens = None if a.tokens is None else lerp(a.tokens, b.tokens, w)
    mask = None if a.mask is None else a.mask | b.mask
    if a.vector is not None and jnp.issubdtype(a.vector.dtype, jnp.floating):
        a = a.replace(vector=lerp(a.vector, b.vector, w))
    return a.replace(tokens=tokens, mask=mask)
