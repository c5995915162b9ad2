"""Learning rates and the optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.config import Optim
from ldm_jax.train_step.optimizer import learning_rate, optimizer
from tests.support import tiny


def rates(steps=100, **settings):
    schedule = learning_rate(Optim(lr=0.4, **settings), steps)
    return np.array([schedule(n) for n in range(steps + 1)])


def test_a_constant_rate_is_constant():
    np.testing.assert_allclose(rates(), 0.4)


@pytest.mark.parametrize("warmup", [1, 4, 100])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "inverse_sqrt"])
def test_warm_up_rises_by_equal_parts_to_the_rate(schedule, warmup):
    found = rates(schedule=schedule, warmup=warmup)[:warmup]
    np.testing.assert_allclose(found, 0.4 * np.arange(1, warmup + 1) / warmup, rtol=1e-5)


@pytest.mark.parametrize("warmup", [0, 20])
def test_cosine_falls_from_the_rate_to_zero(warmup):
    """lr (1 + cos(pi x)) / 2 with x from 0 after the warm-up to 1 at the last step."""
    x = np.arange(101 - warmup) / (100 - warmup)
    expected = 0.4 * (1 + np.cos(np.pi * x)) / 2
    found = rates(schedule="cosine", warmup=warmup)[warmup:]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("warmup", [0, 20])
def test_a_line_falls_from_the_rate_to_zero(warmup):
    x = np.arange(101 - warmup) / (100 - warmup)
    found = rates(schedule="linear", warmup=warmup)[warmup:]
    np.testing.assert_allclose(found, 0.4 * (1 - x), atol=1e-6)


def test_the_rate_falls_with_the_square_root_of_the_step():
    """lr sqrt(w / n) at the n-th update; the last of the warm-up is lr, too."""
    n = np.arange(20, 102)
    found = rates(schedule="inverse_sqrt", warmup=20)[19:]
    np.testing.assert_allclose(found, 0.4 * np.sqrt(20 / n), rtol=1e-5)


def updates(config, gradients, w=1.0):
    transform = optimizer(config, 100)
    params = {"w": jnp.array([w, w])}
    state, found = transform.init(params), []
    for gradient in gradients:
        update, state = transform.update({"w": jnp.asarray(gradient)}, state, params)
        found.append(update["w"])
    return np.array(found)


def test_the_first_adam_update_is_the_rate_against_the_sign():
    found = updates(Optim(lr=0.1, clip=None), [[3.0, -0.01]])
    np.testing.assert_allclose(found, [[-0.1, 0.1]], rtol=1e-4)


def test_clipping_bounds_the_gradients_norm_and_leaves_small_ones():
    large, small = np.array([30.0, 40.0]), np.array([0.1, 0.2])
    np.testing.assert_allclose(
        updates(Optim(clip=2.0), [large, small]),
        updates(Optim(clip=None), [large / 25, small]),
        rtol=1e-5,
    )


def test_weight_decay_is_apart_from_the_gradient():
    """AdamW: each update takes lr * decay * w from w, whatever the moments (eq. 12)."""
    gradients = [[3.0, -0.01], [1.0, 1.0]]
    decayed = updates(Optim(lr=0.1, weight_decay=0.05), gradients, w=2.0)
    plain = updates(Optim(lr=0.1), gradients, w=2.0)
    np.testing.assert_allclose(decayed, plain - 0.1 * 0.05 * 2.0, atol=1e-6)


KERNELS = {
    "denoiser": {
        "conv_in": {"kernel": jnp.ones((3, 3, 4, 8))},
        "conv1": {"kernel": jnp.ones((3, 3, 8, 8)), "bias": jnp.zeros(8)},
        "q": {"kernel": jnp.ones((160, 256))},
    },
    "discriminator": {"conv_1": {"kernel": jnp.ones((4, 4, 8, 8))}},
}


def first_update(**settings):
    transform = optimizer(Optim(lr=0.1, **settings), 100, tuple(KERNELS))
    leaves, treedef = jax.tree.flatten(KERNELS)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    gradients = [jax.random.normal(key, x.shape) for key, x in zip(keys, leaves, strict=True)]
    gradients = jax.tree.unflatten(treedef, gradients)
    found, _ = transform.update(gradients, transform.init(KERNELS), KERNELS)
    return gradients, found


def test_lion_moves_by_the_rate_against_the_sign():
    gradients, found = first_update(kind="lion")
    tiny.assert_close(found, jax.tree.map(lambda g: -0.1 * jnp.sign(g), gradients), rtol=1e-5)


def test_adafactor_moves_by_the_rate_and_keeps_a_row_and_a_column():
    _, found = first_update(kind="adafactor", b1=0.0)
    for update in jax.tree.leaves(found):
        np.testing.assert_allclose(jnp.sqrt(jnp.mean(update**2)), 0.1, rtol=0.05)
    state = optimizer(Optim(kind="adafactor", b1=0.0), 100).init(KERNELS)
    assert max(x.size for x in jax.tree.leaves(state)) == 4 * 4 * 8 * 8  # not 160 * 256


def test_muon_makes_matrices_orthogonal_and_leaves_the_rest_to_adamw():
    """Kernels [.., n] as matrices: all singular values alike; an RMS of 0.2 lr, as AdamW's."""
    _, found = first_update(kind="muon")
    for update in (found["denoiser"]["conv1"], found["discriminator"]["conv_1"]):
        matrix = update["kernel"].reshape(-1, 8)
        values = jnp.linalg.svd(matrix, compute_uv=False)
        assert max(values) < 2 * min(values)
        np.testing.assert_allclose(jnp.sqrt(jnp.mean(matrix**2)), 0.02, rtol=0.15)
    _, by_adam = first_update(kind="adamw")
    for name in ("conv_in", "conv1"):
        rest = "bias" if name == "conv1" else "kernel"
        tiny.assert_close(found["denoiser"][name][rest], by_adam["denoiser"][name][rest])


@pytest.mark.parametrize("kind", ["adamw", "lion", "adafactor", "muon"])
def test_weights_decay_by_the_rate(kind):
    """Each update takes lr * decay * w from w, whatever the optimizer."""
    _, decayed = first_update(kind=kind, weight_decay=0.05)
    _, plain = first_update(kind=kind)
    expected = jax.tree.map(lambda u, w: u - 0.1 * 0.05 * w, plain, KERNELS)
    tiny.assert_close(decayed, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["adamw", "lion", "adafactor", "muon"])
def test_of_matrices_alone_neither_biases_nor_scalars_decay(kind):
    """They get the update that they would have without any decay."""
    settings = {"kind": kind, "weight_decay": 0.05, "lr": 0.1}
    params = {"w": jnp.ones((4, 8)), "b": jnp.ones(8), "scale": jnp.ones(())}

    def update(**more):
        transform = optimizer(Optim(**settings, **more), 100)
        gradients = jax.tree.map(jnp.ones_like, params)
        return transform.update(gradients, transform.init(params), params)[0]

    everything, matrices = update(), update(decays="matrices")
    tiny.assert_close(matrices["w"], everything["w"])
    for name in ("b", "scale"):
        np.testing.assert_allclose(matrices[name] - everything[name], 0.005, rtol=1e-4)


def test_what_is_added_to_the_root_makes_small_gradients_count_less():
    """|g| / (|g| + eps) of the rate at the first update (Kingma and Ba 2015, algorithm 1)."""
    found = updates(Optim(lr=0.1, eps=1e-2, clip=None), [[0.01, -0.01]])
    np.testing.assert_allclose(found, [[-0.05, 0.05]], rtol=1e-4)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_only_arrays_whose_names_match_train(kind):
    """The others stay as they are, and have no state."""
    _, found = first_update(kind=kind, train_only="denoiser/(q|conv1)/", clip=None)
    _, whole = first_update(kind=kind, clip=None)
    for part, layers in KERNELS.items():
        for layer in layers:
            trained = part == "denoiser" and layer in ("q", "conv1")
            expected = (
                whole[part][layer] if trained else jax.tree.map(jnp.zeros_like, layers[layer])
            )
            tiny.assert_close(found[part][layer], expected, rtol=1e-6)
    settings = Optim(kind=kind, train_only="denoiser/q/")
    state = jax.tree.leaves(optimizer(settings, 100, ("denoiser",)).init(KERNELS))
    assert {x.size for x in state if x.size > 3} == {160 * 256}


def test_the_norm_that_is_clipped_is_of_what_trains():
    """A gradient of norm 0.5 stays as it is beside one of norm 500 that does not train."""
    transform = optimizer(Optim(b1=0.9, b2=0.99, train_only="a", clip=1.0), 100)
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    gradients = {"a": jnp.array([0.3, 0.4]), "b": jnp.array([300.0, 400.0])}
    _, state = transform.update(gradients, transform.init(params), params)
    moments = [x for x in jax.tree.leaves(state) if x.shape == (2,)]
    np.testing.assert_allclose(max(float(x.max()) for x in moments), 0.1 * 0.4, rtol=1e-5)
