"""Training of a classifier of noised latents."""

from dataclasses import replace
from pathlib import Path

import jax

from ldm_jax import build, checkpoint, checks, runs
from ldm_jax.config import ClassifierExperiment
from ldm_jax.data import latents
from ldm_jax.errors import InputError
from ldm_jax.experiments.train import check_batch, check_devices
from ldm_jax.runs import init_from
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.classifier import classifier_objective
from ldm_jax.training.checked import check_architecture, check_kept, check_train_only
from ldm_jax.training.fitted import fit_classes, inherited
from ldm_jax.training.loop import fit
from ldm_jax.training.source import batches_of, look, open_source
from ldm_jax.training.steps import announce, is_finished, make_step, print_plan


def train_classifier(
    experiment: ClassifierExperiment,
    run: Path,
    dry_run: bool,
    start: init_from.Start | None = None,
) -> None:
    """Trains a classifier of the noised latents of a diffusion model's run."""
    if not experiment.diffusion_run:
        raise InputError(
            "diffusion_run is not set: expected the run of the diffusion model that is to be "
            "guided (--diffusion-run RUN), whose latents the classifier sees"
        )
    guided = runs.describe(Path(experiment.diffusion_run))
    of_guided = guided.experiment
    data = inherited(experiment.data, of_guided.data)
    if data.image_size != of_guided.data.image_size:
        raise InputError(
            f"data.image_size is {data.image_size}: expected {of_guided.data.image_size}, as the "
            f"diffusion model of run '{guided.run}' has it"
        )
    first_stage, diffusion = of_guided.first_stage, of_guided.diffusion
    experiment = replace(experiment, data=data, first_stage=first_stage, diffusion=diffusion)
    check_devices(experiment.train, "train")
    check_batch(data.batch_size, "data.batch_size", experiment.train)
    checks.check_classifier(experiment)
    source = open_source(data)
    if isinstance(source.records, latents.Source):
        raise InputError(f"data.path '{data.path}' holds latents: expected images")
    if not source.info.class_names:
        raise InputError(
            "the data of a classifier has no classes: expected class folders or a label field "
            "(--data.label)"
        )
    count = fit_classes(experiment.num_classes, "num_classes", source.info)
    experiment = replace(experiment, num_classes=count)
    model = build.build_classifier(experiment)
    objective = classifier_objective(model, experiment.train.accumulate)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    check_train_only("classifier", experiment, shapes, objective.trained)
    if start:
        init_from.match(start, jax.eval_shape(model.init, jax.random.key(0)))
    if checkpoint.latest_step(run) is not None:
        check_architecture(run, runs.model_shapes(model), experiment, objective)
    best = experiment.train.best is not None
    batch = look(data, source, ("label",), batch=dry_run or best)
    params = {**runs.model_shapes(model)}
    if best:
        check_kept(experiment, objective, params, batch)
    if dry_run:
        print_plan("classifier", experiment, objective, params, batch)
        return
    if is_finished("classifier", run, experiment.train.steps):
        return
    runs.write(run, experiment, None, source.info)
    init_key, step_key = jax.random.split(jax.random.key(experiment.seed))
    spread = devices(experiment.train.devices, experiment.train.mesh)
    params = spread.make(model.init, init_key)
    if start and checkpoint.latest_step(run) is None:
        params = init_from.fill(start, params)
    params["first_stage"] = runs.load_scaled_first_stage(guided.run, guided.model.first_stage)
    step, begin = make_step(experiment, objective)
    state = spread.make(begin, spread.place(params))
    announce("classifier", experiment, spread.summary(state))
    fit(
        "classifier",
        run,
        experiment.train,
        spread,
        step,
        state,
        batches_of(data, source, experiment.seed, ("label",)),
        step_key,
    )
