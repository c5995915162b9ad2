"""Checkpoints: a run's state and its place in the data, through Orbax.

folder.py     which a run has, and which is the best
items.py      what one is made of, so that sampling reads only the weights
frozen.py     the weights that training does not change, once for all checkpoints
saving.py     written while the run goes on
digests.py    by which a file that was changed is known
restoring.py  read back: the state, weights alone, a part, shapes
imported.py   weights from elsewhere
snapshots.py  averages that are kept for good
"""

from ldm_jax.checkpoint.folder import best_step, latest_step, steps
from ldm_jax.checkpoint.frozen import keep_frozen, save_frozen
from ldm_jax.checkpoint.imported import save_weights
from ldm_jax.checkpoint.items import parts
from ldm_jax.checkpoint.restoring import (
    averaged_parts,
    check_architecture,
    check_weights,
    read_part,
    restore,
    restore_weights,
    weight_shapes,
)
from ldm_jax.checkpoint.saving import check_saved, manager, save, set_aside
from ldm_jax.checkpoint.snapshots import (
    read_snapshot,
    save_snapshot,
    snapshot_names,
    snapshot_steps,
)

__all__ = [
    "averaged_parts",
    "best_step",
    "check_architecture",
    "check_saved",
    "check_weights",
    "keep_frozen",
    "latest_step",
    "manager",
    "parts",
    "read_part",
    "read_snapshot",
    "restore",
    "restore_weights",
    "save",
    "save_frozen",
    "save_snapshot",
    "save_weights",
    "set_aside",
    "snapshot_names",
    "snapshot_steps",
    "steps",
    "weight_shapes",
]
