"""What trains a classifier of noised latents, against the best that can be done by Bayes' rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from ldm_jax.diffusion.guidance.classifier import classify, log_probability
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.train_step.classifier import classifier_objective
from ldm_jax.types import LatentClassifier
from tests.support import tiny
from tests.support.every import PROCESSES

B, M = 512, 1.0  # class y has latents of the mean -M or M, and no spread


def bayes(p):
    """The exact logits of the two classes, as a network: one parameter scales them, 1 is right."""

    def network(params, x, time):
        t = time + 1 if p.discrete else time
        alpha, sigma = alpha_sigma_like(p, t, x)
        z = x * jnp.sqrt(alpha**2 + sigma**2)
        means = jnp.array([-M, M])
        fit = -0.5 * jnp.square(z - alpha * means) / jnp.square(sigma)
        return params["sharpness"] * fit.reshape(len(x), 2)

    return network


def model(p, network):
    first_stage = tiny.first_stage(encode=lambda params, images, keys: images[:, :1, :1, :1])
    return LatentClassifier(None, network, first_stage, p)


def batch(count=B):
    label = np.arange(count) % 2
    image = np.where(label, M, -M)[:, None, None, None] * np.ones((1, 1, 1, 3))
    position = jnp.arange(count)
    return {"image": jnp.float32(image), "label": jnp.int32(label), "position": position}


def params(sharpness):
    return {"classifier": {"sharpness": jnp.float32(sharpness)}, "first_stage": {}}


def outcome(p, sharpness=1.0, network=None, seed=0):
    objective = classifier_objective(model(p, network or bayes(p)))

    @jax.jit
    def step(sharpness, key):
        found = objective.outcome(params(sharpness), batch(), key, 0, lambda x: x)
        return found.gradients, found.metrics

    return step(sharpness, jax.random.key(seed))


@pytest.mark.parametrize("name", ["linear", "cosine_flow"])
def test_the_posterior_of_the_classes_has_the_least_loss(name):
    """No sharper and no blunter output than Bayes' does better: cross-entropy is proper."""
    found = {s: float(outcome(PROCESSES[name], s)[1]["loss"]) for s in (0.5, 1.0, 2.0)}
    assert found[1.0] < min(found[0.5], found[2.0])


def test_who_knows_nothing_loses_log_2_and_who_says_the_contrary_has_the_rest():
    right, none, wrong = (outcome(PROCESSES["linear"], s)[1] for s in (1.0, 0.0, -1.0))
    np.testing.assert_allclose(none["loss"], np.log(2.0), rtol=1e-5)
    alpha, sigma = PROCESSES["linear"].alpha_sigma(jnp.arange(1, 1001))
    by_chance = np.mean(norm.cdf(M * alpha / sigma))  # the noise does not carry to the other side
    np.testing.assert_allclose(right["accuracy"], by_chance, atol=0.07)  # 3 / sqrt(B) / 2
    np.testing.assert_allclose(right["accuracy"] + wrong["accuracy"], 1.0, rtol=1e-5)


def test_the_classifier_alone_is_trained():
    objective = classifier_objective(model(PROCESSES["linear"], bayes(PROCESSES["linear"])))
    assert objective.trained == objective.averaged == ("classifier",)
    assert set(outcome(PROCESSES["linear"])[0]) == {"classifier"}


def test_each_example_draws_its_own_time_and_noise_and_again_with_another_key():
    p, seen = PROCESSES["rectified_flow"], []

    def network(params, x, time):
        jax.debug.callback(lambda *found: seen.append(found), x, time)
        return jnp.zeros((len(x), 2)) * params["sharpness"]

    for seed in (0, 0, 1):
        outcome(p, network=network, seed=seed)
    jax.effects_barrier()
    (x, t), again, other = seen[0], seen[1], seen[2]
    assert len(np.unique(t)) > 0.99 * B and t.min() > 0 and t.max() <= p.T
    np.testing.assert_allclose(np.mean(t), p.T / 2, rtol=0.1)
    np.testing.assert_array_equal(x, again[0])
    assert not np.any(t == other[1])


@pytest.mark.parametrize("name", PROCESSES)
def test_what_a_classifier_sees_is_of_size_one(name):
    p = PROCESSES[name]
    t = jnp.linspace(1.0, p.T, 7)
    alpha, sigma = alpha_sigma_like(p, t, jnp.zeros((7, 1, 1, 1)))
    noise = jax.random.normal(jax.random.key(0), (2, 7, 500, 1, 1))
    seen = []
    classify(lambda x, time: seen.append(x), p, alpha * noise[0] + sigma * noise[1], t)
    np.testing.assert_allclose(np.std(seen[0], axis=(1, 2, 3)), 1.0, atol=0.1)


def test_log_probabilities_are_those_of_the_labels():
    p = PROCESSES["linear"]
    logits = jnp.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    ask = log_probability(lambda x, time: logits, p, jnp.array([2, 1]))
    found = np.exp(ask(jnp.zeros((2, 1, 1, 1)), jnp.array([5, 9])))
    expected = np.exp([2.0, 0.0]) / np.exp(logits).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
