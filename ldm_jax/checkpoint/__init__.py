"""Checkpoints: a run's state and its place in the data, through Orbax.

folder.py     which a run has, which is the best, and what one is made of
frozen.py     the weights that training does not change, once for all checkpoints
saving.py     written while the run goes on
digests.py    by which a file that was changed is known
restoring.py  read back: the state, weights alone, a part, shapes
imported.py   weights from elsewhere
snapshots.py  averages that are kept for good
"""

from ldm_jax.checkpoint.folder import best_step, latest_step, merged, parts, steps
from ldm_jax.checkpoint.frozen import frozen_names, keep_frozen, save_frozen
from ldm_jax.checkpoint.imported import save_weights
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
