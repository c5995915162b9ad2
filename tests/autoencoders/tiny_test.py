"""The tiny autoencoder as a first stage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.autoencoders.latents import draw, unit
from ldm_jax.config import TinyAutoencoder
from tests.support import tiny

STAGE = TinyAutoencoder(channels=4, blocks=(1, 2), z_channels=3).build()
IMAGES = jax.random.uniform(jax.random.key(1), (3, 8, 8, 3), minval=-1.0)
encode, decode = jax.jit(STAGE.encode), jax.jit(STAGE.decode)


@pytest.fixture(scope="module")
def params():
    return tiny.drawn(STAGE.init) | unit(3)


@pytest.mark.parametrize("blocks", [(1,), (1, 1), (1, 2, 1, 1)])
def test_latents_are_smaller_by_the_factor(blocks):
    stage = TinyAutoencoder(4, blocks, z_channels=5).build()
    assert stage.factor == 2 ** (len(blocks) - 1)
    params = jax.eval_shape(stage.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, 16, 24, 3), jnp.float32)
    z = jax.eval_shape(stage.encode, params, images, tiny.keys(2))
    assert z.shape == (2, 16 // stage.factor, 24 // stage.factor, stage.channels)
    assert jax.eval_shape(stage.decode, params, z).shape == images.shape


def test_the_published_ones_have_their_number_of_parameters():
    """1 222 532 and 1 222 531 in the taesd of 2023."""
    shapes = jax.eval_shape(TinyAutoencoder().build().init, jax.random.key(0))
    sizes = {part: sum(x.size for x in jax.tree.leaves(shapes[part])) for part in STAGE.parts}
    assert sizes == {"encoder": 1_222_532, "decoder": 1_222_531}


def test_nothing_is_drawn(params):
    q = STAGE.posterior(params, IMAGES)
    np.testing.assert_array_equal(draw(q, tiny.keys(3)), q.mean)
    for seed in (0, 1):
        np.testing.assert_allclose(encode(params, IMAGES, tiny.keys(3, seed)), q.mean, atol=1e-6)


def test_latents_are_scaled_and_images_are_not(params):
    moved = params | {"shift": jnp.array([0.5, 0.0, -1.0]), "scale": jnp.array([2.0, 1.0, 0.5])}
    z = encode(params, IMAGES, tiny.keys(3))
    expected = (z - moved["shift"]) * moved["scale"]
    np.testing.assert_allclose(encode(moved, IMAGES, tiny.keys(3)), expected, atol=1e-6)
    np.testing.assert_allclose(decode(moved, expected), decode(params, z), atol=1e-5)


def test_the_decoder_bends_large_latents_back(params):
    """3 tanh(z / 3): what is small passes, what is large is all the same."""
    large = 1e3 * jnp.sign(jax.random.normal(jax.random.key(2), (1, 4, 4, 3)))
    np.testing.assert_array_equal(decode(params, large), decode(params, 1e3 * large))
    z = jnp.full((1, 4, 4, 3), 0.01)
    assert np.any(np.asarray(decode(params, z)) != np.asarray(decode(params, 2 * z)))


def test_a_reconstruction_is_what_decoding_gives_and_nothing_regularises_it(params):
    made = STAGE.reconstruct(params, IMAGES, tiny.keys(3))
    np.testing.assert_allclose(made.image, decode(params, made.latents), atol=1e-5)
    assert made.terms == {}
    assert made.codes is None


def test_the_last_layer_is_the_one_that_paints(params):
    kernel = params
    for name in STAGE.last_layer:
        kernel = kernel[name]
    assert kernel.shape[-1] == 3
    assert set(STAGE.parts) == set(params) - {"shift", "scale"}
