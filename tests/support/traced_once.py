"""Whole networks are traced once in a process for each shape of their inputs, not once a test.

Tracing takes most of the tests' time, and the same small networks are made again and again. A
module of Linen is equal to another of the same settings, so what `apply` and `init` trace of one
serves the other: they go through a jit that is inlined where it is called, so programs stay as they
are. Flax's own check of shapes, which traces each initializer again whenever a network is applied,
is made once for each initializer and shape. Blocks are traced once, too, in whatever networks they
stand.
"""

import contextlib
import dataclasses
import functools
import gc
import types

import jax
from flax import linen
from flax.core import scope

from ldm_jax.encoders import bert, glide, t5
from ldm_jax.encoders.clip import noised
from ldm_jax.encoders.clip import transformer as clip
from ldm_jax.nn.attention import SpatialSelfAttention
from ldm_jax.nn.resnet import ResBlock
from ldm_jax.nn.transformer import SpatialTransformer
from ldm_jax.runs import loading

FREE = ("init_args", "init_fn", "init_kwargs")  # of what `Scope.param` traces
BLOCKS = {
    ResBlock,
    SpatialSelfAttention,
    SpatialTransformer,
    *(one.Block for one in (bert, clip, glide, noised, t5)),
}
_apply, _init = linen.Module.apply, linen.Module.init
_shapes: dict = {}
_kept = contextlib.ExitStack()
_only_shapes = False  # of params: then no initializer is traced


@functools.cache
def _jitted(function, module, only_shapes=False):
    return jax.jit(functools.partial(function, module), inline=not only_shapes)


@functools.cache
def _again(function):
    """The same, of which jax keeps apart what it traces."""
    return lambda *inputs: function(*inputs)


def shapes(init, *inputs):
    """The shapes of the params that `init` gives; equal blocks are traced once."""
    global _only_shapes
    before, _only_shapes = _only_shapes, True
    try:
        return jax.eval_shape(_again(init), *inputs)
    finally:
        _only_shapes = before


def _plain(x) -> bool:
    """Whether a field of a block is a setting: no network, and no function that holds one."""
    if isinstance(x, types.FunctionType):
        return x.__closure__ is None
    return x is None or isinstance(x, str | int | float) or x == ()


def _nested(module: linen.Module) -> bool:
    """Whether a block stands in a network whose trace may serve others."""
    root = module
    while isinstance(root.parent, linen.Module):
        root = root.parent
    return root is not module and not type(root).__module__.startswith("ldm_jax.nn.")


def _block_once(call, args, kwargs, context):
    """A block within a network: traced once for its settings and the shapes of its inputs."""
    block = context.module
    if type(block) not in BLOCKS or context.method_name != "__call__" or kwargs:
        return call(*args, **kwargs)
    fields = [f.name for f in dataclasses.fields(block) if f.name not in ("parent", "name")]
    place = block.scope
    if not (
        all(hasattr(x, "dtype") for x in jax.tree.leaves(args))
        and all(_plain(getattr(block, name)) for name in fields)
        and _nested(block)
    ):
        return call(*args)
    alone = block.clone(parent=None, name=None)
    if _only_shapes and place.is_mutable_collection("params"):
        key = {"params": jax.random.key(0)}
        out, made = _jitted(linen.Module.init_with_output, alone, True)(key, *args)
        for kind, tree in made.items():
            place._mutable_collection(kind).update(tree)
        return out
    if place.mutable is not False or place.rngs:
        return call(*args)
    return _jitted(_apply, alone)(block.variables, *args)


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
            jitted = _jitted(function, self, _only_shapes and function is _init)
        except TypeError:  # settings that cannot be hashed
            return function(self, *args)
        return jitted(*args)

    return call


class _Jax:
    """jax as what loads runs has it, where `eval_shape` is of params alone."""

    eval_shape = staticmethod(shapes)

    def __getattr__(self, name):
        return getattr(jax, name)


class _ScopesJax(_Jax):
    """jax as flax.core.scope has it, but for the tracing of initializers."""

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
    _again.cache_clear()
    _shapes.clear()


def use() -> None:
    """For all tests of this process."""
    gc.set_threshold(100_000, 50, 100)  # traces live long: looking through them is a third of all
    scope.jax, loading.jax = _ScopesJax(), _Jax()
    linen.Module.apply, linen.Module.init = _once(_apply), _once(_init)
    _kept.enter_context(linen.intercept_methods(_block_once))
