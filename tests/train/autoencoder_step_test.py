"""The objective of the first stage."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from ldm_jax.autoencoders.kl import kl_autoencoder
from ldm_jax.autoencoders.latents import unit, unscaled
from ldm_jax.config import AutoencoderLoss
from ldm_jax.sharding import devices
from ldm_jax.train.autoencoder_step import TRAINED, autoencoder_loss
from ldm_jax.train.state import make_train_step, new_state
from ldm_jax.types import FirstStage, Gaussian

LOG_VARIANCE = -30.0  # a draw is its mean


def posterior(params, images):
    return Gaussian(params["encoder"] * images, jnp.full(images.shape, LOG_VARIANCE))


def decode(params, latents):
    return params["decoder"] * unscaled(params, latents)


DIMMER = FirstStage(None, posterior, None, decode, factor=1, channels=3)  # x -> e d x
SCALE = {"shift": jnp.array([1.0, 2.0, 3.0]), "scale": jnp.array([4.0, 5.0, 6.0])}
PARAMS = {"encoder": jnp.array(0.5), "decoder": jnp.array(1.5), **SCALE}
BATCH = {"image": jax.random.uniform(jax.random.key(0), (3, 4, 4, 3), minval=-1.0)}


@pytest.mark.parametrize("kind", ["l1", "l2"])
@pytest.mark.parametrize("weight", [0.0, 1e-6, 0.1])
def test_the_loss_is_the_weighted_sum_of_its_terms(kind, weight):
    loss = autoencoder_loss(DIMMER, AutoencoderLoss(reconstruction=kind, kl_weight=weight))
    total, metrics = loss(PARAMS, BATCH, tiny.keys(3))
    x = np.asarray(BATCH["image"], np.float64)
    power = {"l1": 1, "l2": 2}[kind]
    reconstruction = np.mean(np.sum(np.abs(0.25 * x) ** power, axis=(1, 2, 3)))
    kl = np.mean(0.5 * np.sum((0.5 * x) ** 2 - 1 - LOG_VARIANCE, axis=(1, 2, 3)))
    expected = {
        "loss": reconstruction + weight * kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "psnr": 10 * np.log10(1 / np.mean((0.25 * x / 2) ** 2)),
    }
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)
    assert total == metrics["loss"]


def test_the_scale_is_measured_and_not_trained():
    loss = autoencoder_loss(DIMMER, AutoencoderLoss())
    values = [loss({**PARAMS, **scale}, BATCH, tiny.keys(3))[0] for scale in (SCALE, unit(3))]
    np.testing.assert_allclose(*values, rtol=1e-5)
    assert not {"shift", "scale"} & set(TRAINED)


def test_a_small_autoencoder_learns_one_batch():
    model = replace(tiny.experiment().first_stage.model, channel_mults=(1,))
    stage, adam = kl_autoencoder(model), optax.adam(2e-2)
    loss = autoencoder_loss(stage, AutoencoderLoss())
    step = devices("jit").lift(make_train_step(loss, adam, TRAINED, 0.9))
    colors = np.array(list(tiny.COLORS.values())) / 127.5 - 1.0
    image = np.broadcast_to(colors[:, None, None], (4, 4, 4, 3)).astype(np.float32)
    batch = {"image": image, "position": np.arange(4, dtype=np.int32)}
    state, losses = new_state(tiny.drawn(stage.init), adam, TRAINED), []
    for _ in range(30):
        state, metrics = step(state, batch, jax.random.key(0))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0] / 2, losses
