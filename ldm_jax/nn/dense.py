"""Dense layers over all positions at once.

XLA's CPU backend takes two to three times as long for the gradient of a kernel where the rows of x
are several axes; here x [..., C] becomes one matrix.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ldm_jax.types import Array


def dense(features: int, name: str, **settings) -> nn.Dense:
    """A dense layer [..., C] -> [..., features] with the params and settings of Flax's."""
    return nn.Dense(features, dot_general=rows_dot_general, name=name, **settings)


def rows_dot_general(x: Array, kernel: Array, dimension_numbers, **settings) -> Array:
    """`jax.lax.dot_general` of x [..., C] and kernel [C, F], contracted over C -> [..., F]."""
    rows = x.reshape(-1, x.shape[-1])
    y = jax.lax.dot_general(rows, kernel, (((1,), (0,)), ((), ())), **settings)
    return y.reshape(*x.shape[:-1], -1)


class DenseHalves(nn.Module):
    """A dense layer that returns its outputs in two halves.

    Each half is a product of its own, so that nothing has to be joined or split. Where an example
    has fewer rows than the kernel, splitting the outputs is cheaper, and is done instead.
    """

    features: int  # of both
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x):
        """x [..., C] -> two of [..., features / 2]."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", nn.linear.default_kernel_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = (jnp.asarray(y, self.dtype) for y in (x, kernel, bias))
        rows = x.reshape(-1, x.shape[-1])
        if rows.shape[0] < x.shape[0] * len(kernel):
            y = (rows @ kernel + bias).reshape(*x.shape[:-1], -1)
            return tuple(jnp.split(y, 2, axis=-1))

        def half(part):
            y = rows @ kernel[:, part] + bias[part]
            return y.reshape(*x.shape[:-1], -1)

        middle = self.features // 2
        return half(slice(None, middle)), half(slice(middle, None))
