"""What sections see of a run."""

from dataclasses import replace
from typing import Any

from ldm_jax import runs
from ldm_jax.adapters.adapter import adapted
from ldm_jax.experiments import Experiment
from ldm_jax.sections import RunView
from ldm_jax.types import DiffusionModel


def view(trained: runs.Trained) -> RunView:
    """Of a run of either kind."""
    diffusion = trained.experiment.kind == Experiment.kind
    stage = trained.model.first_stage if diffusion else trained.model
    common = RunView(
        run=trained.run,
        model=trained.model,
        experiment=trained.experiment,
        image_size=trained.experiment.data.image_size,
        factor=stage.factor,
        channels=stage.channels,
        class_names=trained.class_names,
        diffusion=diffusion,
    )
    if not diffusion:
        return common
    return common._replace(
        multiple=stage.factor * trained.model.backbone.multiple,
        conditions=trained.experiment.conditions,
        rebuild=lambda own: _rebuilt(trained, own),
        tokenizers=trained.tokenizers,
        object_names=runs.object_names(trained.run),
        adapters=trained.adapters,
    )


def _rebuilt(trained: runs.Trained, conditions: tuple[Any, ...]) -> DiffusionModel:
    """The model with other conditions in place of its own, and what is attached to it."""
    model = replace(trained.experiment, conditions=conditions).build(trained.tokenizers)
    return adapted(model, {one.name: one.adapter for one in trained.adapters})
