"""Sharding: how arrays and one pure step are divided over the devices.

The only file that places arrays. Every arrangement computes the same values: examples are split
over the devices, gradients are averaged, and the training state is replicated or split.
"""

import functools
import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1


@dataclass(frozen=True)
class Mesh:
    """The number of devices along each axis, for `devices` jit; their product is the number of all.

    Examples are split over data and fsdp; parameters, their averages and the optimizer's state
    over fsdp, and heads and inner widths over tensor (see `sharding.py`).
    """

    data: AtLeast1 | None = None  # None: all that the others leave
    fsdp: AtLeast1 = 1  # devices over which weights are sharded, and the batch
    tensor: AtLeast1 = 1  # devices over which widths of layers are sharded


AXES = ("data", "fsdp", "tensor")
EXAMPLES = P(("data", "fsdp"))  # how the first axis of a batch is split

# What is split along the axis "tensor", by the full name of an array; the first match counts.
# Layers come in pairs (Shoeybi et al. 2019, section 3): the first is split by its outputs, heads or
# inner widths, the second by its inputs, and their product is summed over the devices.
# An optimizer's state and averages end in the names of the params that they belong to.
TENSOR = (
    (r".*/(q|k|v|qkv|ff/in|ff_in_\d+|embedding)/kernel", P(None, "tensor")),
    (r".*/(q|k|v|qkv|ff/in|ff_in_\d+|embedding|conv1)/bias", P("tensor")),
    (r".*/(.*attn(_\d+)?|self|cross|ff)/out/kernel", P("tensor", None)),
    (r".*/ff_out_\d+/kernel", P("tensor", None)),
    (r".*/conv1/kernel", P(None, None, None, "tensor")),
    (r".*/conv2/kernel", P(None, None, "tensor", None)),
)
SMALL = 2**9  # an array of fewer values is not split over fsdp: gathering it costs more


def mesh_shape(wanted: Mesh, name: str = "train.mesh") -> dict[str, int]:
    """Devices along each axis, {"data", "fsdp", "tensor"}.

    Raises:
        InputError: their product is not the number of devices.
    """
    count = jax.device_count()
    rest = wanted.fsdp * wanted.tensor
    if wanted.data is None and count % rest:
        raise InputError(
            f"{name} has fsdp {wanted.fsdp} and tensor {wanted.tensor}: expected their product, "
            f"{rest}, to divide {count}, the number of devices"
        )
    shape = {
        "data": wanted.data or count // rest,
        "fsdp": wanted.fsdp,
        "tensor": wanted.tensor,
    }
    if math.prod(shape.values()) != count:
        product = " x ".join(f"{axis} {size}" for axis, size in shape.items())
        raise InputError(
            f"{name} is {product} = {math.prod(shape.values())}: expected {count}, the number of "
            f"devices; leave {name}.data at None to have it computed from the others"
        )
    return shape


def _rule(name: str, ndim: int) -> P:
    """The dimension split along the axis tensor, by the first rule for such a name."""
    rules = (spec for pattern, spec in TENSOR if re.fullmatch(pattern, name))
    return next((spec for spec in rules if len(spec) == ndim), P(*[None] * ndim))


def spec_of(name: str, shape: tuple[int, ...], mesh: dict[str, int]) -> P:
    """How an array of this name and shape is split: over tensor by rule, over fsdp where possible.

    A dimension that an axis does not divide stays whole; fsdp takes the longest that is free.
    """
    axes = [
        axis if axis and mesh[axis] > 1 and n % mesh[axis] == 0 else None
        for axis, n in zip(_rule(name, len(shape)), shape, strict=True)
    ]
    if mesh["fsdp"] > 1 and math.prod(shape) >= SMALL:
        free = [i for i, n in enumerate(shape) if axes[i] is None and n % mesh["fsdp"] == 0]
        if free:
            axes[max(free, key=lambda i: (shape[i], i))] = "fsdp"
    while axes and axes[-1] is None:
        axes.pop()
    return P(*axes)


def name_of(path: tuple) -> str:
    """The name of an array at a path of a tree, such as params/denoiser/conv_in/kernel."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named(tree: Any) -> dict[str, Any]:
    """The arrays of a tree by their names."""
    return {name_of(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


class Devices:
    """One way of using the devices: `jit` over a mesh."""

    kind = "jit"

    def __init__(self, sizes: dict[str, int]):
        types = (AxisType.Auto,) * len(AXES)
        self.sizes, self.mesh = sizes, jax.make_mesh(tuple(sizes.values()), AXES, axis_types=types)
        self.whole, self.rows = (NamedSharding(self.mesh, spec) for spec in (P(), EXAMPLES))

    @property
    def count(self) -> int:
        """Number of devices, over all hosts."""
        return self.mesh.size

    def shardings(self, tree: Any, **changed: int) -> Any:
        """How each array of a tree, or of its shapes, is divided in training."""
        sizes = {**self.sizes, **changed}

        def one(path, x):
            return NamedSharding(self.mesh, spec_of(name_of(path), np.shape(x), sizes))

        return jax.tree_util.tree_map_with_path(one, tree)

    def replicate(self, tree: Any) -> Any:
        """A tree of arrays, whole on every device."""
        return jax.device_put(tree, self.whole)

    def place(self, tree: Any) -> Any:
        """A tree of arrays, sharded as in training."""
        return jax.device_put(tree, self.shardings(tree))

    def target(self, tree: Any) -> Any:
        """Shapes with the sharding of `place`, for restoring."""
        return jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            tree,
            self.shardings(tree),
        )

    def make(self, function: Callable, *arguments: Any) -> Any:
        """A function's output, sharded as by `place`; no device holds more than its part."""
        shardings = self.shardings(jax.eval_shape(function, *arguments))
        # called once: compiles in half the time for a processor, with the same bits
        quick = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
        return jax.jit(function, out_shardings=shardings, compiler_options=quick)(*arguments)

    def split(self, batch: Any) -> Any:
        """This host's part of a batch (tree of numpy [b, ...]) -> the batch, sharded."""
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(self.rows, x), batch)

    def share(self, batch: Any) -> Any:
        """A batch that every host has whole (tree of numpy [b, ...]) -> the batch, sharded."""

        def rows_of(x):
            return jax.make_array_from_callback(x.shape, self.rows, lambda index: x[index])

        return jax.tree.map(rows_of, batch)

    def collect(self, batch: Any) -> Any:
        """A sharded batch -> the same tree of numpy, whole on every host."""
        if jax.process_count() > 1:  # other hosts' parts have to be sent
            batch = jax.jit(lambda tree: tree, out_shardings=self.whole)(batch)
        return jax.device_get(batch)

    def like(self, batch: Any) -> Any:
        """This host's part of a batch -> the shapes and shardings of `split`'s output."""

        def whole_batch(x):
            shape = (x.shape[0] * jax.process_count(), *x.shape[1:])
            return jax.ShapeDtypeStruct(shape, x.dtype, sharding=self.rows)

        return jax.tree.map(whole_batch, batch)

    def in_force(self) -> AbstractContextManager:
        """A context in which traced code knows the mesh (`each_device`); a parallelized step does
        anyway."""
        return jax.set_mesh(self.mesh)

    def parallelize(self, step: Callable, state: Any) -> Callable:
        """step(state, frozen, batch, key, average, gather), and a state or its shapes -> compiled
        step(state, frozen, batch, key), which donates its state, and not frozen."""

        def gather(params):  # otherwise the compiler may split layers along fsdp, not the batch
            return jax.lax.with_sharding_constraint(params, self.shardings(params, fsdp=1))

        def alone(state, frozen, batch, key):  # the compiler averages: it sees the whole batch
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
                return step(state, frozen, batch, key, lambda tree: tree, gather)

        return jax.jit(alone, donate_argnums=0, out_shardings=(self.shardings(state), self.whole))

    def summary(self, tree: Any) -> str:
        """One line on how a tree of arrays or shapes is divided."""
        return _summary(self.kind, self.sizes, tree)


class _Pmap(Devices):
    """The step by `pmap`, on batches [devices, b / devices, ...]."""

    kind = "pmap"

    def __init__(self, sizes: dict[str, int]):
        super().__init__(sizes)
        # the mesh of pmap's outputs: arguments on another would compile the second step again
        self.mesh = jax.make_mesh((sizes["data"],), AXES[:1], axis_types=(AxisType.Auto,))
        self.whole, self.rows = (NamedSharding(self.mesh, spec) for spec in (P(), P("data")))

    @staticmethod
    def by_device(batch):
        n = jax.local_device_count()
        return {k: np.reshape(x, (n, -1, *np.shape(x)[1:])) for k, x in batch.items()}

    def split(self, batch):
        return super().split(self.by_device(batch))

    def like(self, batch):
        return super().like(self.by_device(batch))

    def parallelize(self, step, state):
        def one_of_many(state, frozen, batch, key):
            average = functools.partial(jax.lax.pmean, axis_name="data")
            return step(state, frozen, batch, key, average, lambda x: x)

        axes = (None, None, 0, None)
        return jax.pmap(one_of_many, "data", in_axes=axes, out_axes=None, donate_argnums=0)


def devices(kind: str, wanted: Mesh = Mesh()) -> Devices:
    """`jit` over a mesh of the axes data, fsdp and tensor, or data parallelism by `pmap`.

    Raises:
        InputError: the devices cannot form the mesh, or `pmap` cannot use it.
    """
    sizes = mesh_shape(wanted)
    check_pmap(kind, sizes)
    return {"jit": Devices, "pmap": _Pmap}[kind](sizes)


def each_device(function: Callable, examples: int, heads: int) -> Callable | None:
    """A function of arrays [examples, n, heads, d] to one of these, each device on its own part.

    For programs that the compiler cannot divide, such as a kernel. With a mesh in force (in a
    parallelized step, or within `Devices.in_force`), examples are divided over data and fsdp, heads
    over tensor. Within `pmap` a device has its part already.

    Returns:
        The function so divided; None with several devices and no mesh in force, or where the mesh
        does not divide examples or heads.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return function if jax.device_count() == 1 else None
    if set(mesh.manual_axes) == set(mesh.axis_names):
        return function
    if not set(mesh.axis_names) <= set(AXES) or mesh.manual_axes:
        return None
    size = {axis: mesh.shape.get(axis, 1) for axis in AXES}
    if examples % (size["data"] * size["fsdp"]) or heads % size["tensor"]:
        return None
    part = P(*(EXAMPLES if "fsdp" in mesh.axis_names else AXES[:1]), None)
    if "tensor" in mesh.axis_names:
        part = P(*part, "tensor")
    return jax.shard_map(function, in_specs=part, out_specs=part, check_vma=False)


def held(tree: Any, sizes: dict[str, int]) -> int:
    """Bytes of a tree of arrays or shapes that one device holds on a mesh of these sizes."""
    total = 0
    for name, x in named(tree).items():
        parts = math.prod(sizes[axis] for axis in spec_of(name, x.shape, sizes) if axis)
        total += math.prod(x.shape) * x.dtype.itemsize // parts
    return total


def _undivided(tree: Any, sizes: dict[str, int]) -> list[str]:
    """Names and shapes of the arrays that an axis should split but does not divide."""
    found = []
    for name, x in named(tree).items():
        wanted = {"tensor"} & set(_rule(name, len(x.shape)))
        wanted |= {"fsdp"} if math.prod(x.shape) >= SMALL else set()
        if any(sizes[axis] > 1 for axis in wanted - set(spec_of(name, x.shape, sizes))):
            found.append(f"{name} {x.shape}")
    return found


def _summary(kind: str, sizes: dict[str, int], tree: Any) -> str:
    shape = " x ".join(f"{axis} {size}" for axis, size in sizes.items() if size > 1) or "one device"
    line = f"{kind} over {shape}: a device holds {held(tree, sizes) / 2**20:.1f} MiB of state"
    if sizes["fsdp"] * sizes["tensor"] == 1:
        return line
    line += f" of {held(tree, dict.fromkeys(AXES, 1)) / 2**20:.1f} MiB"
    left = _undivided(tree, sizes)
    return line + (f"; not divided: {len(left)} arrays, such as {left[0]}" if left else "")


def check_pmap(kind: str, sizes: dict[str, int], name: str = "train") -> None:
    """Raises InputError where `pmap` is used with what only `jit` over a mesh can do."""
    for axis in ("fsdp", "tensor"):
        if kind == "pmap" and sizes[axis] > 1:
            raise InputError(
                f"{name}.mesh.{axis} is {sizes[axis]} with {name}.devices pmap, which keeps the "
                f"state whole on every device: expected 1, or {name}.devices jit"
            )
    if kind == "pmap" and jax.process_count() > 1:
        raise InputError(
            f"{name}.devices is pmap with {jax.process_count()} processes: expected jit, "
            "which computes the same"
        )
