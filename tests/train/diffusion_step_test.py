"""The objective of the second stage."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from ldm_jax.conditioning.label import label
from ldm_jax.diffusion import prediction
from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.ddpm import ddpm
from ldm_jax.sharding import devices
from ldm_jax.train.diffusion_step import TRAINED, diffusion_loss
from ldm_jax.train.state import make_train_step, minimise, new_state
from ldm_jax.types import LatentDiffusion

N, T = 400, 50
PARAMS = {
    "first_stage": {"scale": jnp.array(3.0)},
    "denoiser": {"w": jnp.array(0.5)},
    "conditioner": {"embedding": jnp.arange(4.0)[:, None]},
}
BATCH = {"image": jnp.ones((N, 2, 2, 1)), "label": jnp.arange(N) % 3}


def encode(params, images, keys):
    return params["scale"] * images


def watched(network=lambda params, z: 0 * z):
    """A model whose network says nothing of its own, and what it was told."""
    told = {}

    def denoiser(params, z, steps, cond):
        told.update(z=z, steps=steps, cond=cond)
        return network(params, z)

    stage = tiny.first_stage(encode=encode, channels=1)
    model = LatentDiffusion(
        None,
        denoiser,
        label(3, dim=1),
        stage,
        ddpm(betas.linear(T)),
        prediction.eps,
    )
    return model, told


def test_a_network_that_says_nothing_loses_the_noises_variance():
    model, _ = watched()
    total, metrics = diffusion_loss(model, 0.0)(PARAMS, BATCH, tiny.keys(N))
    assert abs(total - 1.0) < 4 * np.sqrt(2 / (4 * N))
    assert metrics == {"loss": total}


def test_every_time_is_trained_and_the_latents_are_scaled():
    model, told = watched()
    diffusion_loss(model, 0.0)(PARAMS, BATCH, tiny.keys(N))
    counts = np.bincount(told["steps"], minlength=T)
    assert len(counts) == T
    assert np.all(counts > 0)
    assert counts.max() < 30  # 8 expected
    alpha = model.process.alphas[told["steps"] + 1]
    sigma = model.process.sigmas[told["steps"] + 1]
    noise = (told["z"][:, 0, 0, 0] - alpha * 3.0) / sigma
    assert abs(jnp.mean(noise)) < 4 / np.sqrt(N)
    assert abs(jnp.std(noise) - 1) < 4 / np.sqrt(2 * N)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_conditions_are_hidden_at_the_rate_asked_for(rate):
    model, told = watched()
    diffusion_loss(model, rate)(PARAMS, BATCH, tiny.keys(N))
    heard = np.asarray(told["cond"].tokens)[:, 0, 0]
    hidden = heard == 3.0  # the class that means none
    assert np.all(heard[~hidden] == np.asarray(BATCH["label"])[~hidden])
    assert abs(hidden.mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / N)


def test_the_choices_of_an_example_are_independent():
    """Posterior, time, noise and dropout have keys of their own."""
    model, told = watched()
    diffusion_loss(model, 0.5)(PARAMS, BATCH, tiny.keys(N))
    t = told["steps"] + 1
    noise = (told["z"][:, 0, 0, 0] - 3.0 * model.process.alphas[t]) / model.process.sigmas[t]
    hidden = told["cond"].tokens[:, 0, 0] == 3.0
    correlations = np.corrcoef([t, noise, hidden])
    assert np.all(np.abs(correlations - np.eye(3)) < 4 / np.sqrt(N))


def test_no_gradient_reaches_the_first_stage():
    model, _ = watched(lambda params, z: params["w"] * z)
    gradients = jax.grad(lambda params: diffusion_loss(model, 0.0)(params, BATCH, tiny.keys(N))[0])(
        PARAMS
    )
    assert gradients["first_stage"]["scale"] == 0.0
    assert abs(gradients["denoiser"]["w"]) > 0.1


def test_a_small_model_learns_one_batch_behind_a_frozen_conditioner():
    """Any encoder can stand in the conditioner's place: what is not named stays bit for bit."""
    model, params, _ = tiny.model(tiny.experiment())
    adam, trained = optax.adam(1e-2), ("denoiser",)
    assert set(trained) < set(TRAINED)
    objective = minimise(diffusion_loss(model, 0.1), trained)
    step = devices("jit").lift(make_train_step(objective, adam, 0.9))
    batch = {
        "image": np.asarray(jax.random.uniform(jax.random.key(1), (4, 8, 8, 3), minval=-1.0)),
        "tokens": np.tile(np.arange(8, dtype=np.int32), (4, 1)),
        "position": np.arange(4, dtype=np.int32),
    }
    before = tiny.arrays(params)
    state, losses = new_state(params, adam, objective), []
    for _ in range(40):
        # always the first step's noise
        state, metrics = step(state.replace(step=jnp.array(0)), batch, jax.random.key(0))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0] / 2, losses
    after = tiny.arrays(state.params)
    for name in before:
        changed = not np.array_equal(before[name], after[name])
        assert changed == name.startswith("['denoiser']"), name
