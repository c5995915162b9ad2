"""The objective of the second stage."""

import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ldm_jax import checkpoint, runs, sampling, training
from ldm_jax.config import DiffusionLoss, Label
from ldm_jax.diffusion import prediction
from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.ddpm import ddpm
from ldm_jax.diffusion.processes.flow import Flow
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.diffusion import (
    TRAINED,
    all_gather,
    diffusion_loss,
    diffusion_objective,
    draw_times,
    init_helpers,
)
from ldm_jax.train_step.state import make_train_step, minimise, new_state
from tests.support import tiny

N, T = 400, 50
PARAMS = {
    "first_stage": {"scale": jnp.array(3.0)},
    "denoiser": {"w": jnp.array(0.5)},
    "conditioner": {"embedding": jnp.arange(4.0)[:, None]},
}
BATCH = {"image": jnp.ones((N, 2, 2, 1)), "label": jnp.arange(N) % 3}


def loss(model, rate=0.0, params=PARAMS, **changes):
    """total, and (metrics, times, losses)."""
    return diffusion_loss(model, DiffusionLoss(**changes), rate)(params, BATCH, tiny.keys(N))


def encode(params, images, keys):
    return params["scale"] * images


def watched(network=lambda params, z: 0 * z):
    """A model with a constant network, and the network's inputs."""
    given = {}

    def denoise(params, z, steps, cond):
        given.update(z=z, steps=steps, cond=cond)
        return network(params, z)

    stage = tiny.first_stage(encode=encode, channels=1)
    model = tiny.denoises(
        denoise,
        Label(3, dim=1).build(None),
        stage,
        ddpm(betas.linear(T)),
        prediction.eps,
    )
    return model, given


def test_a_network_that_says_nothing_loses_the_noises_variance():
    model, _ = watched()
    total, (metrics, t, losses) = loss(model)
    assert abs(total - 1.0) < 4 * np.sqrt(2 / (4 * N))
    assert t.shape == losses.shape == (N,)
    np.testing.assert_allclose(jnp.mean(losses), total, rtol=1e-6)
    assert metrics == {"loss": total}


def test_every_time_is_trained_and_the_latents_are_scaled():
    model, given = watched()
    loss(model)
    counts = np.bincount(given["steps"], minlength=T)
    assert len(counts) == T
    assert np.all(counts > 0)
    assert counts.max() < 30  # 8 expected
    alpha = model.process.alphas[given["steps"] + 1]
    sigma = model.process.sigmas[given["steps"] + 1]
    noise = (given["z"][:, 0, 0, 0] - alpha * 3.0) / sigma
    assert abs(jnp.mean(noise)) < 4 / np.sqrt(N)
    assert abs(jnp.std(noise) - 1) < 4 / np.sqrt(2 * N)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_conditions_are_hidden_at_the_rate_asked_for(rate):
    model, given = watched()
    loss(model, rate)
    precomputed = np.asarray(given["cond"].tokens)[:, 0, 0]
    hidden = precomputed == 3.0  # the class that means none
    assert np.all(precomputed[~hidden] == np.asarray(BATCH["label"])[~hidden])
    assert abs(hidden.mean() - rate) <= 4 * np.sqrt(rate * (1 - rate) / N)


def test_the_choices_of_an_example_are_independent():
    """Posterior, time, noise and dropout have keys of their own."""
    model, given = watched()
    loss(model, 0.5)
    t = given["steps"] + 1
    noise = (given["z"][:, 0, 0, 0] - 3.0 * model.process.alphas[t]) / model.process.sigmas[t]
    hidden = given["cond"].tokens[:, 0, 0] == 3.0
    correlations = np.corrcoef([t, noise, hidden])
    assert np.all(np.abs(correlations - np.eye(3)) < 4 / np.sqrt(N))


def test_no_gradient_reaches_the_first_stage():
    model, _ = watched(lambda params, z: params["w"] * z)
    gradients = jax.grad(lambda params: loss(model, params=params)[0])(PARAMS)
    assert gradients["first_stage"]["scale"] == 0.0
    assert abs(gradients["denoiser"]["w"]) > 0.1


def test_a_small_model_learns_one_batch_behind_a_frozen_conditioner():
    """Any encoder can stand in the conditioner's place: what is not named stays bit for bit."""
    model, params, _ = tiny.model(tiny.experiment())
    adam, trained = optax.adam(1e-2), ("denoiser",)
    assert set(trained) < set(TRAINED)
    of_batch = diffusion_loss(model, DiffusionLoss(), 0.1)

    def total(*inputs):
        found, (metrics, *_) = of_batch(*inputs)
        return found, metrics

    objective = minimise(total, trained)
    batch = {
        "image": np.asarray(jax.random.uniform(jax.random.key(1), (4, 8, 8, 3), minval=-1.0)),
        "tokens": np.tile(np.arange(8, dtype=np.int32), (4, 1)),
        "position": np.arange(4, dtype=np.int32),
    }
    before = tiny.arrays(params)
    state, losses = new_state(params, adam, objective), []
    step = devices("jit").parallelize(make_train_step(objective, adam, 0.9), state)
    for _ in range(40):
        # always the first step's noise
        state, metrics = step(state.replace(step=jnp.array(0)), {}, batch, jax.random.key(0))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0] / 2, losses
    after = tiny.arrays(state.params)
    for name in before:
        changed = not np.array_equal(before[name], after[name])
        assert changed == name.startswith("['denoiser']"), name


# variations, of a network that says nothing of its own


def test_half_the_output_may_be_the_variance():
    model, _ = watched(lambda params, z: jnp.concatenate([0 * z, 0 * z + params["w"]], -1))
    total, (metrics, _, losses) = loss(model, kind="hybrid", vlb_weight=0.5)
    assert metrics["loss"] == total
    np.testing.assert_allclose(total, metrics["simple"] + 0.5 * metrics["vlb"], rtol=1e-6)
    alone, (_, _, bounds) = loss(model, kind="vlb")
    np.testing.assert_allclose(alone, metrics["vlb"], rtol=1e-6)  # by the same draws
    np.testing.assert_allclose(losses - 0.5 * bounds, loss(model)[1][2], atol=1e-3)


def test_in_the_hybrid_the_bound_trains_the_variance_alone():
    model, _ = watched(
        lambda params, z: jnp.concatenate([params["mean"] * z, 0 * z + params["variance"]], -1)
    )

    def gradients(**changes):
        def total(denoiser):
            return loss(model, params={**PARAMS, "denoiser": denoiser}, **changes)[0]

        return jax.grad(total)({"mean": jnp.array(0.1), "variance": jnp.array(0.2)})

    simple, hybrid, vlb = (gradients(kind=kind) for kind in ("simple", "hybrid", "vlb"))
    np.testing.assert_allclose(hybrid["mean"], simple["mean"], rtol=1e-5)
    np.testing.assert_allclose(hybrid["variance"], 0.001 * vlb["variance"], rtol=1e-3)
    assert simple["variance"] == 0.0
    assert abs(vlb["mean"]) > 0.1


@pytest.mark.parametrize("times", ["uniform", "cubic", "log_normal", "logit_normal"])
def test_discrete_processes_are_trained_at_whole_times(times):
    model, _ = watched()
    t, weights = draw_times(DiffusionLoss(times=times), model.process, {}, tiny.keys(N))
    assert t.dtype == jnp.int32
    assert 1 <= t.min() <= t.max() <= T
    assert weights.tolist() == [1.0] * N
    continuous, _ = draw_times(DiffusionLoss(times=times), Flow(T=T), {}, tiny.keys(N))
    np.testing.assert_array_equal(np.ceil(continuous) == continuous, False)


def test_weights_distances_and_noise_are_those_asked_for():
    model, given = watched()
    before = loss(model)[1][2]
    t, z = given["steps"] + 1, given["z"]
    alpha, sigma = model.process.alpha_sigma(t)
    snr = (alpha / sigma) ** 2
    minimum = loss(model, weight="min_snr", min_snr_gamma=2.0)[1][2]
    np.testing.assert_allclose(minimum, before * jnp.minimum(snr, 2.0) / snr, rtol=1e-4)
    late = loss(model, weight="p2", p2_k=2.0, p2_gamma=0.5)[1][2]
    np.testing.assert_allclose(late, before / jnp.sqrt(2.0 + snr), rtol=1e-4)
    noise = (z - alpha.reshape(-1, 1, 1, 1) * 3.0) / sigma.reshape(-1, 1, 1, 1)
    absolute = loss(model, distance="l1")[1][2]
    np.testing.assert_allclose(absolute, jnp.mean(jnp.abs(noise), (1, 2, 3)), rtol=1e-3, atol=1e-3)
    within = loss(model, distance="huber", huber_delta=100.0)[1][2]
    np.testing.assert_allclose(within, before, rtol=1e-5)


def test_offset_noise_is_learned_and_perturbation_is_not():
    model, given = watched()
    before, z = loss(model)[1][2], given["z"]
    offset, offset_z = loss(model, offset_noise=0.3)[1][2], given["z"]
    perturbed, perturbed_z = loss(model, input_perturbation=0.3)[1][2], given["z"]
    assert abs(jnp.mean(offset) / 1.09 - 1) < 0.1
    assert np.ptp(offset_z - z, axis=(1, 2)).max() < 1e-5  # one number a channel
    np.testing.assert_array_equal(perturbed, before)
    assert np.ptp(perturbed_z - z, axis=(1, 2)).max() > 0.1


def test_a_learned_weight_divides_by_what_it_expects_and_adds_it():
    model, _ = watched()
    u = jnp.linspace(-1.0, 1.0, T)
    params = {**PARAMS, "uncertainty": {"log_variance": u}}
    total, (metrics, t, losses) = loss(model, params=params, learned_weight=True)
    expected = np.mean(losses * np.exp(-u[t - 1]) + u[t - 1])
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["simple"], jnp.mean(losses), rtol=1e-6)


def test_losses_are_remembered_at_their_times_and_change_nothing_else():
    model, _ = watched()
    config = DiffusionLoss(times="loss_aware", learned_weight=True)
    params = {**PARAMS, **init_helpers(model.process, config)}
    objective = diffusion_objective(model, config, 0.0, N)
    assert objective.trained == (*TRAINED, "uncertainty")
    assert objective.averaged == TRAINED
    batch = {**BATCH, "position": jnp.arange(N)}
    found = objective.outcome(params, batch, jax.random.key(0), jnp.array(0), lambda x: x)
    after = found.changes(params)
    assert int(jnp.sum(after["history"]["counts"])) > 0.9 * N  # 8 expected a time, 10 kept
    assert jnp.all(
        (after["history"]["losses"] > 0) == (jnp.arange(10) < after["history"]["counts"][:, None])
    )
    assert found.changes({"denoiser": 1}) == {"denoiser": 1}
    rest = {name: after[name] for name in params if name != "history"}
    jax.tree.map(np.testing.assert_array_equal, rest, {name: params[name] for name in rest})
    for row in found.gradients["uncertainty"]["log_variance"]:
        assert np.isfinite(row)


def test_a_batch_in_parts_is_the_batch():
    """Gradients, losses by term, and what is remembered of each time, in the examples' order."""
    model, _ = watched(lambda params, z: params["w"] * z)
    config = DiffusionLoss(times="loss_aware", learned_weight=True)
    params = {**PARAMS, **init_helpers(model.process, config)}
    batch = {**BATCH, "position": jnp.arange(N)}

    def learned(parts):
        objective = diffusion_objective(model, config, 0.3, N, parts)
        outcome = objective.outcome(params, batch, jax.random.key(0), jnp.array(0), lambda x: x)
        return outcome.gradients, outcome.metrics, outcome.changes(params)["history"]

    tiny.assert_close(learned(4), learned(1), rtol=1e-5, atol=1e-6)


def test_numbers_of_examples_are_gathered_by_their_place():
    x, position = jnp.array([5, 6, 7, 8]), jnp.array([2, 0, 3, 1])
    assert all_gather(x, position, 4, lambda x: x).tolist() == [6, 8, 5, 7]


def test_a_run_with_everything_learned_goes_on_where_it_was(trained_run, image_folder, tmp_path):
    """Variance, weights of times and the history of losses, saved and resumed."""
    experiment = tiny.experiment(image_folder)
    experiment = replace(
        experiment,
        first_stage=replace(experiment.first_stage, run=str(trained_run / "first_stage")),
        diffusion=replace(experiment.diffusion, learned_variance=True),
        loss=DiffusionLoss(kind="hybrid", times="loss_aware", learned_weight=True),
    )
    training.train(experiment, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "halves")
    shutil.rmtree(tmp_path / "halves" / "checkpoints" / "4")  # as if it had died before
    training.train(experiment, tmp_path / "halves")
    assert checkpoint.latest_step(tmp_path / "halves") == 4
    whole, halves = (tiny.saved(tmp_path / name, 4) for name in ("whole", "halves"))
    tiny.assert_same(whole["params"], halves["params"])
    assert whole["params"]["history"]["counts"].sum() == 4 * experiment.data.batch_size
    assert np.any(whole["params"]["uncertainty"]["log_variance"] != 0.0)
    assert set(whole["ema"]) == set(TRAINED)
    loaded = runs.load(tmp_path / "whole")
    assert set(loaded.params) == {"first_stage", "denoiser", "conditioner"}
    wanted = sampling.resolve(loaded, num=1, batch_size=1, sampler="ddpm")
    found = sampling.draw(loaded, wanted).images
    assert found.shape == (1, 8, 8, 3)
