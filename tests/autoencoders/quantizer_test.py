"""Rounding to a codebook, and how codes learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.autoencoders import quantizer as q

CODEBOOK = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [-3.0, -3.0]])
Z = jnp.array([[0.1, 0.1], [0.9, -0.2], [0.6, 0.0], [0.1, 1.7], [-9.0, -1.0], [0.4, 0.0]])
NEAREST = np.array([0, 1, 1, 2, 3, 0])


def pictured(rows):
    """[6, c] -> [2, 1, 3, c]."""
    return rows.reshape(2, 1, 3, *rows.shape[1:])


def test_each_latent_takes_the_nearest_code():
    z = jax.random.normal(jax.random.key(0), (50, 3))
    codebook = jax.random.normal(jax.random.key(1), (20, 3))
    distances = np.linalg.norm(np.asarray(z)[:, None] - np.asarray(codebook), axis=-1)
    np.testing.assert_array_equal(q.codes_of(z, codebook), distances.argmin(1))
    np.testing.assert_array_equal(q.codes_of(pictured(Z), CODEBOOK), pictured(NEAREST))


def test_the_gradient_passes_straight_through():
    weights = jax.random.normal(jax.random.key(2), pictured(Z).shape)

    def loss(z, codebook):
        return jnp.sum(weights * q.straight_through(z, codebook)[0])

    np.testing.assert_allclose(
        q.straight_through(pictured(Z), CODEBOOK)[0], pictured(CODEBOOK[NEAREST]), atol=1e-6
    )
    by_z, by_codebook = jax.grad(loss, (0, 1))(pictured(Z), CODEBOOK)
    np.testing.assert_allclose(by_z, weights)
    np.testing.assert_array_equal(by_codebook, 0.0)


def test_commitment_moves_latents_and_the_codebook_term_codes():
    def terms(z, codebook):
        return q.straight_through(z, codebook)[2]

    found = terms(pictured(Z), CODEBOOK)
    expected = np.mean(np.square(np.asarray(Z) - np.asarray(CODEBOOK)[NEAREST]).reshape(2, -1), 1)
    for name in ("commitment", "codebook"):
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)
    for name, moved in (("commitment", 0), ("codebook", 1)):
        slopes = jax.grad(lambda z, e, name=name: jnp.sum(terms(z, e)[name]), (0, 1))(
            pictured(Z), CODEBOOK
        )
        assert jnp.any(slopes[moved] != 0)
        assert not jnp.any(slopes[1 - moved])


def test_use_is_counted_in_shares_of_equal_use():
    found = q.batch_statistics(pictured(Z), pictured(NEAREST), 4)
    np.testing.assert_allclose(found["use"], np.array([2, 2, 1, 1]) * 4 / 6)
    np.testing.assert_allclose(found["sum"][1], np.asarray(Z)[1:3].sum(0) * 4 / 6, rtol=1e-6)
    assert float(jnp.mean(found["use"])) == pytest.approx(1.0)


def test_perplexity_counts_the_codes_in_use():
    assert q.perplexity(jnp.ones(7)) == pytest.approx(7.0, rel=1e-5)
    assert q.perplexity(jnp.array([0.0, 3.0, 0.0])) == pytest.approx(1.0)
    assert q.perplexity(jnp.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(2.0, rel=1e-5)


def test_moving_means_converge_to_the_mean_of_what_is_rounded():
    codes, statistics = CODEBOOK, q.new_statistics(CODEBOOK)
    np.testing.assert_allclose(q.means(statistics), CODEBOOK, rtol=1e-4, atol=1e-6)
    batch = q.batch_statistics(pictured(Z), pictured(NEAREST), 4)
    for _ in range(200):
        statistics = q.moving(0.9, statistics, batch)
        codes = q.means(statistics)
    for n in range(4):
        np.testing.assert_allclose(codes[n], np.asarray(Z)[n == NEAREST].mean(0), rtol=1e-3)


def test_dead_codes_move_to_latents_and_the_others_stay():
    statistics = {"use": jnp.array([1.0, 0.01, 2.0, 0.0]), "sum": CODEBOOK}
    spare = 7.0 + jnp.arange(8.0).reshape(4, 2)
    codebook, kept = q.revive(CODEBOOK, statistics, spare, below=0.03)
    np.testing.assert_array_equal(codebook[jnp.array([1, 3])], spare[jnp.array([1, 3])])
    np.testing.assert_array_equal(codebook[jnp.array([0, 2])], CODEBOOK[jnp.array([0, 2])])
    np.testing.assert_array_equal(kept["use"], [1.0, 1.0, 2.0, 1.0])
    np.testing.assert_array_equal(kept["sum"][3], spare[3])


def test_candidates_are_latents_of_the_global_batch_on_whatever_device():
    z = jax.random.normal(jax.random.key(4), (8, 2, 3, 5))
    position = jnp.arange(8)
    whole = q.candidates(jax.random.key(5), z, position, 40, lambda x: x)
    rows = np.asarray(z).reshape(-1, 5)
    assert all(np.isclose(rows, row, atol=1e-5).all(1).any() for row in np.asarray(whole))
    assert len(np.unique(np.asarray(whole).round(4), axis=0)) > 20
    spread = jax.vmap(
        lambda z, position: q.candidates(
            jax.random.key(5), z, position, 40, lambda x: jax.lax.pmean(x, "devices")
        ),
        axis_name="devices",
    )(z.reshape(4, 2, 2, 3, 5), position.reshape(4, 2))
    for device in spread:
        np.testing.assert_allclose(device, whole, rtol=1e-5)
