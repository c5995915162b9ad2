"""What sections see of a run."""

from dataclasses import replace

from ldm_jax import runs
from ldm_jax.sections import RunView


def view(trained: runs.Trained | runs.TrainedFirstStage) -> RunView:
    """Of a run of either kind."""
    kind = _first_stage if isinstance(trained, runs.TrainedFirstStage) else _diffusion
    return kind(trained)


def _diffusion(trained: runs.Trained) -> RunView:
    """Of a diffusion model."""
    model, stage = trained.model, trained.model.first_stage
    return RunView(
        run=trained.run,
        model=model,
        experiment=trained.experiment,
        image_size=trained.experiment.data.image_size,
        factor=stage.factor,
        channels=stage.channels,
        multiple=stage.factor * model.backbone.multiple,
        conditions=trained.experiment.conditions,
        rebuild=lambda own: replace(trained.experiment, conditions=own).build(trained.tokenizers),
        tokenizers=trained.tokenizers,
        class_names=trained.class_names,
        object_names=runs.object_names(trained.run),
    )


def _first_stage(trained: runs.TrainedFirstStage) -> RunView:
    """Of a first stage that is a model by itself."""
    stage = trained.model
    return RunView(
        run=trained.run,
        model=stage,
        experiment=trained.experiment,
        image_size=trained.experiment.data.image_size,
        factor=stage.factor,
        channels=stage.channels,
        class_names=trained.class_names,
        diffusion=False,
    )
