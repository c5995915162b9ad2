"""What sections see of a run."""

from dataclasses import replace

from ldm_jax import runs
from ldm_jax.experiments import Experiment
from ldm_jax.sections import RunView


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
        rebuild=lambda own: replace(trained.experiment, conditions=own).build(trained.tokenizers),
        tokenizers=trained.tokenizers,
        object_names=runs.object_names(trained.run),
    )
