"""Where arrays live, and how one pure step is spread over the devices.

The only file that places arrays. Both ways compute the same numbers: parameters are replicated, the
batch is split, gradients are averaged.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ldm_jax.errors import InputError


class Devices(NamedTuple):
    """One way of using the devices.

    count:     number of devices, over all hosts
    replicate: tree of arrays -> the same tree, whole on every device
    target:    tree of shapes -> the same with the sharding that `replicate` gives (for restoring)
    split:     this host's part of a batch (dict of numpy [b, ...]) -> the batch, spread
    lift:      step(state, batch, key, average) -> compiled step(state, batch, key); eats its state
    """

    count: int
    replicate: Callable[[Any], Any]
    target: Callable[[Any], Any]
    split: Callable[[dict], dict]
    lift: Callable[[Callable], Callable]


def data_mesh() -> Mesh:
    """All devices in a row, along the axis "data"."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def devices(kind: str) -> Devices:
    """Data parallelism by `jit` over a mesh, or by `pmap`."""
    mesh = data_mesh()
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))

    def replicate(tree):
        return jax.device_put(tree, whole)

    def target(tree):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), tree)

    def split(batch):
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(rows, x), batch)

    def lift_jit(step):
        def alone(state, batch, key):  # the compiler averages: it sees the whole batch
            return step(state, batch, key, lambda tree: tree)

        return jax.jit(alone, donate_argnums=0, out_shardings=whole)

    def split_pmap(batch):  # [b, ...] -> [devices, b / devices, ...]
        n = jax.local_device_count()
        return split({k: np.reshape(x, (n, -1, *np.shape(x)[1:])) for k, x in batch.items()})

    def lift_pmap(step):
        def one_of_many(state, batch, key):
            return step(state, batch, key, lambda tree: jax.lax.pmean(tree, "data"))

        return jax.pmap(
            one_of_many, "data", in_axes=(None, 0, None), out_axes=None, donate_argnums=0
        )

    spread = {"jit": (split, lift_jit), "pmap": (split_pmap, lift_pmap)}
    return Devices(mesh.size, replicate, target, *spread[kind])


def check_batch(batch_size: int, name: str) -> None:
    """Raises InputError unless a batch splits evenly over the devices."""
    count = jax.device_count()
    if batch_size < 1 or batch_size % count:
        raise InputError(
            f"{name} is {batch_size}: expected a positive multiple of {count}, "
            f"the number of devices, such as {max(1, round(batch_size / count)) * count}"
        )
