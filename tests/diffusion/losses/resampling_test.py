"""Loss-aware importance sampling of times."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.losses.resampling import draw, empty, probabilities, remember

T = 5
LOSSES = np.random.default_rng(0).uniform(0.1, 3.0, (200,)) * np.tile([1, 2, 3, 4, 5], 40)
TIMES = np.tile(np.arange(1, T + 1), 40)


def reference(t, losses, length=10):
    """Lists that grow to ten losses a time and then drop the oldest."""
    seen = {n: [] for n in range(1, T + 1)}
    for n, loss in zip(t, losses, strict=True):
        seen[n] = [*seen[n], loss][-length:]
    return seen


def filled(count):
    return remember(empty(T), jnp.asarray(TIMES[:count]), jnp.asarray(LOSSES[:count], jnp.float32))


def test_it_remembers_the_last_ten_losses_of_every_time():
    for count in (3, 12, 50, 93, 200):
        history, expected = filled(count), reference(TIMES[:count], LOSSES[:count])
        for n in range(1, T + 1):
            k = int(history["counts"][n - 1])
            assert k == len(expected[n])
            np.testing.assert_allclose(history["losses"][n - 1, :k], expected[n], rtol=1e-6)


def test_a_time_may_come_several_times_in_a_batch():
    once = remember(empty(T), jnp.full(12, 2), jnp.arange(12.0))
    assert once["losses"][1].tolist() == list(range(2, 12))
    assert once["counts"].tolist() == [0, 10, 0, 0, 0]


def test_batches_one_after_another_are_one_long_batch():
    history = empty(T)
    for rows in np.split(np.arange(200), 8):
        history = remember(history, jnp.asarray(TIMES[rows]), jnp.float32(LOSSES[rows]))
    jax.tree.map(np.testing.assert_array_equal, history, filled(200))


def test_until_every_time_has_ten_losses_all_are_equally_likely():
    np.testing.assert_allclose(probabilities(filled(49)), 1 / T)
    assert np.ptp(probabilities(filled(50))) > 0.1


def test_then_likely_as_the_root_of_the_mean_squared_loss():
    expected = reference(TIMES, LOSSES)
    size = np.array([np.sqrt(np.mean(np.square(expected[n]))) for n in range(1, T + 1)])
    p = 0.999 * size / size.sum() + 0.001 / T
    np.testing.assert_allclose(probabilities(filled(200)), p, rtol=1e-5)


def test_weights_keep_the_mean_loss_and_lower_its_variance():
    """Of any function of time; here of one that the history knows."""
    history, N = filled(200), 20_000
    t, weights = draw(jax.random.split(jax.random.key(0), N), history)
    assert (t.min(), t.max()) == (1, T)
    f = np.sqrt(np.mean(np.square(history["losses"]), axis=1))
    aware, plain = f[t - 1] * weights, f[np.random.default_rng(0).integers(0, T, N)]
    assert abs(aware.mean() - f.mean()) < 5 * aware.std() / np.sqrt(N) + 1e-3
    assert aware.std() < plain.std() / 10
