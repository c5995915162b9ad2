"""Whole networks are traced once in a process for each shape of their inputs, not once a test.

Tracing takes most of the tests' time, and the same small networks are made again and again. A
module of Linen is equal to another of the same settings, so what `apply` and `init` trace of one
serves the other: they go through a jit that is inlined where it is called, so programs stay as they
are. Flax's own check of shapes, which traces each initializer again whenever a network is applied,
is made once for each initializer and shape.
"""

import functools

import jax
from flax import linen
from flax.core import scope

FREE = ("init_args", "init_fn", "init_kwargs")  # of what `Scope.param` traces
_apply, _init = linen.Module.apply, linen.Module.init
_shapes: dict = {}


@functools.cache
def _jitted(function, module):
    return jax.jit(functools.partial(function, module), inline=True)


def _once(function):
    """`apply` or `init` with what it traces kept, where nothing but arrays are its arguments."""

    @functools.wraps(function)
    def call(self, *args, **kwargs):
        leaves = jax.tree.leaves(args)
        plain = (
            not kwargs
            and self.parent is None
            and not type(self).__module__.startswith("ldm_jax.nn.")  # whose tests change limits
            and all(hasattr(x, "dtype") for x in leaves)
        )
        if not plain:
            return function(self, *args, **kwargs)
        try:
            jitted = _jitted(function, self)
        except TypeError:  # settings that cannot be hashed
            return function(self, *args)
        return jitted(*args)

    return call


class _Jax:
    """jax as flax.core.scope has it, but for the tracing of initializers."""

    def __getattr__(self, name):
        return getattr(jax, name)

    @staticmethod
    def eval_shape(f, *args, **kwargs):
        if args or kwargs or f.__code__.co_freevars != FREE:
            return jax.eval_shape(f, *args, **kwargs)
        arguments, init, further = (cell.cell_contents for cell in f.__closure__)
        key = (init, arguments, tuple(further.items()), jax.config.jax_enable_x64)
        try:
            hash(key)
        except TypeError:
            return jax.eval_shape(f)
        if key not in _shapes:
            _shapes[key] = jax.eval_shape(f)
        return _shapes[key]


def forget() -> None:
    """Gives up what is kept."""
    _jitted.cache_clear()
    _shapes.clear()


def use() -> None:
    """For all tests of this process."""
    scope.jax = _Jax()
    linen.Module.apply, linen.Module.init = _once(_apply), _once(_init)
