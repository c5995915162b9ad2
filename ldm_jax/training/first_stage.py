"""Training of a first stage."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from ldm_jax import checkpoint
from ldm_jax.autoencoders.latents import scaled
from ldm_jax.data import image_files, pipeline
from ldm_jax.errors import InputError
from ldm_jax.evaluate import in_training
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.experiments.train import check_batch
from ldm_jax.runs import init_from
from ldm_jax.runtime import hosts
from ldm_jax.train_step import autoencoder
from ldm_jax.train_step.autoencoder import AutoencoderLoss
from ldm_jax.train_step.state import Measurement, averaged_params
from ldm_jax.training.checked import open_images
from ldm_jax.training.source import Source, batches_of, open_source
from ldm_jax.training.task import Frozen, Task, without
from ldm_jax.types import Array, FirstStage, Params, TrainState
from ldm_jax.weights.names.lpips import load_lpips


def first_stage_task(
    experiment: FirstStageExperiment,
    folder: Path,
    dry_run: bool = False,
    start: init_from.Start | None = None,
    prefix: str = "",
) -> Task:
    """The training of a first stage.

    Args:
        prefix: of the names of its settings in messages.
    """
    loss, stage = experiment.loss, experiment.model.build()
    if not stage.parts:
        raise InputError(
            f"{prefix}model is {experiment.model}: expected a first stage that can be trained; in "
            "a diffusion model's config it needs no training"
        )
    source = open_images(experiment, prefix)

    def init(key: Array) -> Params:
        return init_first_stage(stage, loss, key)

    return Task(
        name="first stage",
        experiment=experiment,
        source=source,
        tokenizers={},
        keys=(),
        init=lambda key: without(init(key), ("perceptual",)),
        shapes=jax.eval_shape(init, jax.random.key(0)),
        objective=loss.build(stage, experiment.train.accumulate),
        frozen=_perceptual(loss, new=checkpoint.latest_step(folder) is None),
        sample=_reconstructions(experiment, source, stage),
        measurement=_measurement(experiment, stage, prefix),
        prefix=prefix,
    )


def init_first_stage(first_stage: FirstStage, loss: AutoencoderLoss, key: Array) -> Params:
    """All params of a first stage that is to be trained, the perceptual network's drawn too."""
    helper_key, perceptual_key = (jax.random.fold_in(key, n) for n in (1, 2))
    params = first_stage.init(key)
    params |= autoencoder.init_helpers(first_stage, loss, helper_key, params)
    if loss.perceptual_weight:
        params["perceptual"] = loss.build_perceptual().init(perceptual_key)
    return params


def _perceptual(loss: AutoencoderLoss, new: bool) -> Frozen:
    """The weights of LPIPS, from a file where a run is new."""
    if not loss.perceptual_weight:
        return Frozen()
    weights = None
    if new:
        with hosts.first_before_others():
            weights = load_lpips(loss.perceptual, loss.perceptual_weights)
    return Frozen(("perceptual",), lambda params, key: {"perceptual": weights})


def _measurement(experiment: FirstStageExperiment, stage: FirstStage, prefix: str) -> Measurement:
    """What is measured of held-out images, where that is wanted."""
    wanted = experiment.evaluation
    if not wanted.every:
        return Measurement()
    check_batch(wanted.batch_size, f"{prefix}evaluation.batch_size")
    data = replace(experiment.data, split=wanted.split, batch_size=wanted.batch_size)
    held_out = open_source(data).records
    num = min(wanted.num, len(held_out))
    return in_training.quality_of_reconstructions(
        wanted, stage, data.image_size, lambda: pipeline.once(data, held_out, num)
    )


def _reconstructions(
    experiment: FirstStageExperiment, source: Source, stage: FirstStage
) -> Callable[[TrainState], np.ndarray]:
    """Draws some images next to their reconstructions, the same images each time."""
    count = experiment.train.num_samples

    @jax.jit
    def reconstruct(params, images):
        mean = stage.posterior(params, images).mean
        return stage.decode(params, scaled(params, mean))

    @functools.cache
    def images() -> np.ndarray:
        batches = batches_of(experiment.data, source, experiment.seed + 1, whole=True)
        return next(batches)["image"][:count]

    def sample(state: TrainState) -> np.ndarray:
        decoded = np.asarray(reconstruct(averaged_params(state), images()))
        return image_files.pairs(image_files.to_uint8(images()), image_files.to_uint8(decoded))

    return sample
