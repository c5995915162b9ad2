"""Training of a classifier of noised latents."""

from dataclasses import replace
from pathlib import Path

from ldm_jax import runs
from ldm_jax.conditioning.label import fit_classes
from ldm_jax.errors import InputError
from ldm_jax.experiments.classifier import ClassifierExperiment
from ldm_jax.runs import init_from
from ldm_jax.train_step.classifier import classifier_objective
from ldm_jax.training.checked import open_images
from ldm_jax.training.fitted import inherited
from ldm_jax.training.task import Frozen, Task


def classifier_task(
    experiment: ClassifierExperiment,
    folder: Path,
    dry_run: bool = False,
    start: init_from.Start | None = None,
) -> Task:
    """The training of a classifier of the noised latents of a diffusion model's run."""
    guided, experiment = _of_guided(experiment)
    source = open_images(experiment)
    if not source.info.class_names:
        raise InputError(f"the data of a classifier has no classes: {source.info.absent['label']}")
    count = fit_classes(experiment.num_classes, "num_classes", source.info)
    experiment = replace(experiment, num_classes=count)
    model = experiment.build()

    def read(params, key):
        stage = guided.model.first_stage
        return {"first_stage": runs.load_scaled_first_stage(guided.run, stage)}

    return Task(
        name="classifier",
        experiment=experiment,
        source=source,
        tokenizers={},
        keys=("label",),
        init=model.init,
        shapes=runs.model_shapes(model),
        objective=classifier_objective(model, experiment.train.accumulate),
        frozen=Frozen(("first_stage",), read),
    )


def _of_guided(experiment: ClassifierExperiment) -> tuple[runs.Trained, ClassifierExperiment]:
    """The diffusion model to be guided, and the experiment with what it inherits from it."""
    if not experiment.diffusion_run:
        raise InputError(
            "diffusion_run is not set: expected the run of the diffusion model that is to be "
            "guided (--diffusion-run RUN), whose latents the classifier sees"
        )
    guided = runs.describe(Path(experiment.diffusion_run))
    there = guided.experiment
    data = inherited(experiment.data, there.data)
    if data.image_size != there.data.image_size:
        raise InputError(
            f"data.image_size is {data.image_size}: expected {there.data.image_size}, as the "
            f"diffusion model of run '{guided.run}' has it"
        )
    first_stage, diffusion = there.first_stage, there.diffusion
    return guided, replace(experiment, data=data, first_stage=first_stage, diffusion=diffusion)
