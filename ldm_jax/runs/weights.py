"""The weights of a run's checkpoint, by the shapes of its model."""

from pathlib import Path

import jax
import jax.numpy as jnp

from ldm_jax import checkpoint
from ldm_jax.runs.paths import locate
from ldm_jax.runtime.sharding import devices
from ldm_jax.types import DiffusionModel, FirstStage, LatentClassifier, Params


def first_stage_shapes(first_stage: FirstStage) -> Params:
    """The shapes of a first stage's params."""
    return jax.eval_shape(first_stage.init, jax.random.key(0))


def model_shapes(model: DiffusionModel | LatentClassifier) -> Params:
    """The shapes of the params of a diffusion model or of a classifier."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return {**shapes, "first_stage": first_stage_shapes(model.first_stage)}


def stored_as(shapes: Params, dtype: str | None) -> Params:
    """Shapes with another type for what has two axes or more; None: as they are."""

    def one(x):
        wide = dtype and x.ndim > 1 and jnp.issubdtype(x.dtype, jnp.floating)
        return jax.ShapeDtypeStruct(x.shape, dtype if wide else x.dtype)

    return jax.tree.map(one, shapes)


def load_weights(place: Path, shapes: Params) -> Params:
    """The weights of these shapes, averaged where an average is kept, over all devices."""
    run, which = locate(place)
    return checkpoint.restore_weights(run, devices("jit").target(shapes), which=which)
