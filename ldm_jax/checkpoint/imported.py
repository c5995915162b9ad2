"""Weights from elsewhere as a checkpoint, which may be larger than memory."""

import mmap
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from ldm_jax.types import Params


def save_weights(run: Path, params: Params, ema: Params | None = None) -> None:
    """Saves weights from elsewhere as checkpoint 0 of a run, since no update was made.

    Args:
        ema: averages of some parts of params, to be used in their place.
    """
    trees = {"params": params, "ema": ema} if ema else {"params": params}
    trees = jax.tree.map(np.asarray, trees)  # no copy of what is one, such as a view of a file
    registry = ocp.type_handlers.create_type_handler_registry((np.ndarray, _OneByOne()))
    handlers = {name: ocp.PyTreeCheckpointHandler(type_handler_registry=registry) for name in trees}
    with ocp.CheckpointManager(
        (run / "checkpoints").absolute(),
        options=ocp.CheckpointManagerOptions(create=False, enable_async_checkpointing=False),
        item_handlers=handlers,
    ) as checkpoints:
        items = {name: ocp.args.PyTreeSave(tree) for name, tree in trees.items()}
        checkpoints.save(0, args=ocp.args.Composite(**items))


class _OneByOne(ocp.type_handlers.NumpyHandler):
    """Writes one array after the other and copies none, so that a mapped file stays in its file."""

    def __init__(self):
        super().__init__(deepcopy_host_arrays=False)

    async def _background_serialize(self, values, infos, args=None):
        for value, info, arg in zip(values, infos, args, strict=True):
            await super()._background_serialize([value], [info], [arg])
            _forget(value)


def _forget(array: np.ndarray) -> None:
    """Lets go of what was read of the file that an array is a view of, if it is of one."""
    mapped = mapping_of(array)
    if mapped and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)  # it is read again where it is needed again


def mapping_of(array: np.ndarray) -> mmap.mmap | None:
    """The mapped file that an array is a view of; None where it has memory of its own."""
    base = array
    while isinstance(base, np.ndarray):
        base = base.base
    base = getattr(base, "obj", base)  # of a memoryview
    return base if isinstance(base, mmap.mmap) else None
