"""The laws of a perceptual distance, and of the pooling that its networks do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.errors import InputError
from ldm_jax.losses.lpips import NETWORKS, lpips
from ldm_jax.losses.networks.pooling import blur_pool, max_pool

ALEX = lpips("alex")
PARAMS = ALEX.init(jax.random.key(0))
X, Y = jax.random.uniform(jax.random.key(1), (2, 2, 31, 34, 3), minval=-1.0)
networks = pytest.mark.parametrize("network", NETWORKS)


@jax.jit
def evaluated(params, x, y):
    """The distances, and the gradients of their sum by x, y and the heads."""

    def total(x, y, heads):
        distances = ALEX.distance(params | {"heads": heads}, x, y)
        return jnp.sum(distances), distances

    gradients, distances = jax.grad(total, argnums=(0, 1, 2), has_aux=True)(x, y, params["heads"])
    return distances, *gradients


def test_an_image_is_at_no_distance_from_itself():
    distances, by_x, by_y, _ = evaluated(PARAMS, X, X)
    assert distances.tolist() == [0, 0]
    assert not by_x.any()
    assert not by_y.any()


def test_the_distance_is_positive_and_symmetric():
    there, by_x, by_y, _ = evaluated(PARAMS, X, Y)
    back, by_first, by_second, _ = evaluated(PARAMS, Y, X)
    assert (there > 1e-3).all()
    np.testing.assert_allclose(there, back, rtol=1e-6)
    np.testing.assert_allclose(by_x, by_second, atol=1e-6 * abs(by_x).max())
    np.testing.assert_allclose(by_y, by_first, atol=1e-6 * abs(by_y).max())


def test_gradients_are_slopes():
    """d(x + v) - d(x - v) = 2 v . grad for a small v along the gradient, by x and by y."""
    _, by_x, by_y, _ = evaluated(PARAMS, X, Y)
    for gradient, (along_x, along_y) in [(by_x, (1, 0)), (by_y, (0, 1))]:
        v = 1e-3 * gradient / jnp.std(gradient)
        plus, _, _, _ = evaluated(PARAMS, X + along_x * v, Y + along_y * v)
        minus, _, _, _ = evaluated(PARAMS, X - along_x * v, Y - along_y * v)
        np.testing.assert_allclose(jnp.sum(plus - minus), 2 * jnp.sum(v * gradient), rtol=0.02)


def test_each_image_has_a_distance_of_its_own():
    together = evaluated(PARAMS, X, Y)[0]
    shuffled = evaluated(PARAMS, X[::-1], Y[::-1])[0]
    np.testing.assert_allclose(together[::-1], shuffled, rtol=1e-5)
    assert len(np.unique(together)) == 2


def test_heads_weigh_the_layers():
    """The distance is linear in them: the sum of each times its slope, a term a layer."""
    distances, _, _, slopes = evaluated(PARAMS, X, Y)
    terms = [jnp.sum(PARAMS["heads"][f"lin{n}"] * slopes[f"lin{n}"]) for n in range(5)]
    assert all(term > 0 for term in terms)
    np.testing.assert_allclose(sum(terms), jnp.sum(distances), rtol=1e-5)


def test_where_no_feature_is_active_nothing_is_nan():
    trunk = jax.tree.map(lambda w: w - 100.0 * (w.ndim == 1), PARAMS["trunk"])  # the biases
    distances, by_x, _, _ = evaluated(PARAMS | {"trunk": trunk}, X, Y)
    assert distances.tolist() == [0, 0]
    assert not by_x.any()


@networks
def test_the_smallest_image(network):
    """Of one pixel less, no feature is left of some layer, or no border to reflect."""
    perceptual, (trunk, smallest) = lpips(network), NETWORKS[network]
    params = jax.eval_shape(perceptual.init, jax.random.key(0))
    image = jnp.zeros((1, smallest, smallest, 3))
    features = jax.eval_shape(trunk.apply, {"params": params["trunk"]}, image)
    assert all(f.size for f in features)
    assert jax.eval_shape(perceptual.distance, params, image, image).shape == (1,)
    for small in (image[:, 1:], image[:, :, 1:]):
        with pytest.raises(InputError, match=rf"too small .* {network}: expected at least"):
            perceptual.distance(params, small, small)


def test_an_unknown_network():
    with pytest.raises(InputError, match="'vgg19': expected one of vgg, alex"):
        lpips("vgg19")


# Pooling


def row(*values: float):
    """An image of one row; blurring along the column of equal values changes nothing."""
    return jnp.broadcast_to(jnp.asarray(values)[None, None, :, None], (1, 3, len(values), 1))


def test_a_blur_reflects_the_border():
    """Every other value of c b | a b c d | c b, smoothed by (1, 2, 1) / 4."""
    a, b, c, d = 1.0, 10.0, 100.0, 1000.0
    expected = [(c + 2 * b + a) / 4, (a + 2 * b + c) / 4, (c + 2 * d + c) / 4]
    found = blur_pool(row(a, b, c, d))
    assert found.shape == (1, 3, 3, 1)
    np.testing.assert_allclose(found[0, 0, :, 0], expected)


@pytest.mark.parametrize("size", range(3, 9))
def test_a_blur_halves_and_keeps_the_level(size):
    found = blur_pool(jnp.full((2, size, size + 1, 3), 0.7))
    assert found.shape == (2, (size + 1) // 2 + 1, (size + 2) // 2 + 1, 3)
    np.testing.assert_allclose(found, 0.7, rtol=1e-6)


def test_a_blur_treats_rows_as_columns():
    x = jax.random.normal(jax.random.key(0), (2, 5, 8, 3))
    turned = blur_pool(jnp.swapaxes(x, 1, 2))
    np.testing.assert_allclose(blur_pool(x), jnp.swapaxes(turned, 1, 2), rtol=1e-5, atol=1e-6)


def test_a_partial_window_counts_where_it_is_set_to():
    x = -row(6.0, 5.0, 4.0, 3.0, 2.0, 1.0)  # negative: a border of zeros would win
    assert max_pool(x, 3, 2)[0, 0, :, 0].tolist() == [-4, -2]
    assert max_pool(x, 3, 2, partial=True)[0, 0, :, 0].tolist() == [-4, -2, -1]
    assert max_pool(x[:, :, :5], 3, 2, partial=True)[0, 0, :, 0].tolist() == [-4, -2]
