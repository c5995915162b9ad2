"""Training of a first stage."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from ldm_jax import build, checkpoint, checks, runs
from ldm_jax.autoencoders.latents import scaled
from ldm_jax.config import AutoencoderLoss, FirstStageExperiment
from ldm_jax.data import image_files, latents, pipeline
from ldm_jax.errors import InputError
from ldm_jax.evaluate import in_training
from ldm_jax.experiments.train import check_batch, check_devices
from ldm_jax.runs import init_from
from ldm_jax.runtime import hosts
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step import autoencoder
from ldm_jax.train_step.state import Measurement, Objective, averaged_params
from ldm_jax.training.checked import check_architecture, check_kept, check_train_only
from ldm_jax.training.loop import fit
from ldm_jax.training.source import Source, batches_of, look, open_source
from ldm_jax.training.steps import announce, is_finished, make_step, print_plan
from ldm_jax.types import Array, FirstStage, Params, TrainState
from ldm_jax.weights.names.lpips import load_lpips


def train_first_stage(
    experiment: FirstStageExperiment,
    run: Path,
    dry_run: bool,
    start: init_from.Start | None = None,
) -> None:
    """Checks all of a first stage's training, then does it."""
    source = prepare_first_stage(experiment, run, start=start)
    if dry_run:
        plan_first_stage(experiment, source)
    elif not is_finished("first stage", run, experiment.train.steps):
        run_first_stage(experiment, run, source, start)


def prepare_first_stage(
    experiment: FirstStageExperiment,
    run: Path,
    prefix: str = "",
    start: init_from.Start | None = None,
) -> Source:
    checks.check_first_stage(experiment, prefix)
    if not build.build_first_stage(experiment.model).parts:
        raise InputError(
            f"{prefix}model is {experiment.model}: expected a first stage that can be trained; in "
            "a diffusion model's config it needs no training"
        )
    check_devices(experiment.train, f"{prefix}train")
    check_batch(experiment.data.batch_size, f"{prefix}data.batch_size", experiment.train)
    source = open_source(experiment.data)
    if isinstance(source.records, latents.Source):
        raise InputError(
            f"{prefix}data.path '{experiment.data.path}' holds latents: expected the images "
            "themselves to train a first stage on"
        )
    first_stage = build.build_first_stage(experiment.model)
    params = jax.eval_shape(
        lambda key: init_first_stage(first_stage, experiment.loss, key), jax.random.key(0)
    )
    if start:
        init_from.match(start, _without(params, "perceptual"))
    trained = _stage_objective(experiment, first_stage).trained
    check_train_only("first stage", experiment, params, trained)
    if checkpoint.latest_step(run) is not None:
        objective = _stage_objective(experiment, first_stage)
        check_architecture(run, params, experiment, objective)
    elif experiment.loss.perceptual_weight:
        with hosts.first_before_others():
            weights = load_lpips(experiment.loss.perceptual, experiment.loss.perceptual_weights)
        source = source._replace(perceptual=weights)
    asked, best = experiment.evaluation, experiment.train.best is not None
    batch = look(experiment.data, source, batch=best)
    measured = ()
    if asked.every:
        check_batch(asked.batch_size, f"{prefix}evaluation.batch_size")
        held_out = open_source(replace(experiment.data, split=asked.split)).records
        source = source._replace(held_out=held_out)
        measured = in_training.scores(experiment.data.image_size)
    if best:
        objective = _stage_objective(experiment, first_stage)
        check_kept(experiment, objective, params, batch, measured, prefix)
    return source


def init_first_stage(first_stage: FirstStage, loss: AutoencoderLoss, key: Array) -> Params:
    """All params of a first stage that is to be trained, the perceptual network's drawn too."""
    helper_key, perceptual_key = (jax.random.fold_in(key, n) for n in (1, 2))
    params = first_stage.init(key)
    params |= autoencoder.init_helpers(first_stage, loss, helper_key, params)
    if loss.perceptual_weight:
        params["perceptual"] = build.build_perceptual(loss).init(perceptual_key)
    return params


def plan_first_stage(experiment: FirstStageExperiment, source: Source) -> None:
    first_stage = build.build_first_stage(experiment.model)
    objective = _stage_objective(experiment, first_stage)
    params = jax.eval_shape(
        lambda: init_first_stage(first_stage, experiment.loss, jax.random.key(0))
    )
    print_plan(
        "first stage", experiment, objective, params, next(batches_of(experiment.data, source, 0))
    )


def run_first_stage(
    experiment: FirstStageExperiment,
    run: Path,
    source: Source,
    start: init_from.Start | None = None,
) -> None:
    runs.write(run, experiment, None, source.info)
    first_stage = build.build_first_stage(experiment.model)
    init_key, step_key = jax.random.split(jax.random.key(experiment.seed))
    objective = _stage_objective(experiment, first_stage)
    spread = devices(experiment.train.devices, experiment.train.mesh)
    params = spread.make(lambda key: init_first_stage(first_stage, experiment.loss, key), init_key)
    if source.perceptual is not None:
        params["perceptual"] = source.perceptual
    if start and checkpoint.latest_step(run) is None:
        params |= init_from.fill(start, _without(params, "perceptual"))
    step, begin = make_step(experiment, objective)
    state = spread.make(begin, spread.place(params))
    announce("first stage", experiment, spread.summary(state))
    example = next(batches_of(experiment.data, source, experiment.seed + 1, whole=True))
    fit(
        "first stage",
        run,
        experiment.train,
        spread,
        step,
        state,
        batches_of(experiment.data, source, experiment.seed),
        step_key,
        picture=_reconstructions(first_stage, example["image"][: experiment.train.num_samples]),
        measurement=_quality(experiment, first_stage, source.held_out),
    )


def _stage_objective(experiment: FirstStageExperiment, first_stage: FirstStage) -> Objective:
    parts = experiment.train.accumulate
    return build.build_autoencoder_objective(first_stage, experiment.loss, parts)


def _without(params: Params, part: str) -> Params:
    return {name: tree for name, tree in params.items() if name != part}


def _quality(
    experiment: FirstStageExperiment, first_stage: FirstStage, held_out
) -> Measurement | None:
    if held_out is None:
        return None
    asked = experiment.evaluation
    data = replace(experiment.data, split=asked.split, batch_size=asked.batch_size)
    num = min(asked.num, len(held_out))
    return in_training.quality_of_reconstructions(
        asked, first_stage, data.image_size, lambda: pipeline.once(data, held_out, num)
    )


def _reconstructions(first_stage: FirstStage, images: np.ndarray) -> Callable:
    @jax.jit
    def reconstruct(params, images):
        mean = first_stage.posterior(params, images).mean
        return first_stage.decode(params, scaled(params, mean))

    def picture(state: TrainState) -> np.ndarray:
        decoded = np.asarray(reconstruct(averaged_params(state), images))
        return image_files.pairs(image_files.to_uint8(images), image_files.to_uint8(decoded))

    return picture
