"""The variational autoencoder of one hidden layer, as a first stage."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.autoencoders.latents import unit
from ldm_jax.config import MLPAutoencoder
from ldm_jax.losses.kl import kl_to_standard_normal
from ldm_jax.losses.likelihood import bernoulli, bits_per_dimension
from tests.support import tiny

CONFIG = MLPAutoencoder(image_size=4, hidden=5, z_channels=2)
COLOR = replace(CONFIG, image_channels=3, likelihood="gaussian")
IMAGES = jax.random.uniform(jax.random.key(1), (3, 4, 4, 3), minval=-1.0)


def made(config):
    """A stage, and drawn params of it."""
    stage = config.build()
    return stage, tiny.drawn(stage.init) | unit(stage.channels)


@pytest.mark.parametrize("config", [CONFIG, COLOR])
def test_an_image_is_one_vector(config):
    stage, params = made(config)
    z = stage.encode(params, IMAGES, tiny.keys(3))
    assert z.shape == (3, 1, 1, 2)
    assert (stage.factor, stage.channels) == (4, 2)
    decoded = stage.decode(params, z)
    assert decoded.shape == IMAGES.shape
    assert -1.0 < jnp.min(decoded) < jnp.max(decoded) < 1.0


def test_the_defaults_are_those_of_the_paper_for_mnist():
    """784-500-40 and 20-500-784 with biases."""
    shapes = jax.eval_shape(MLPAutoencoder().build().init, jax.random.key(0))
    sizes = {part: sum(x.size for x in jax.tree.leaves(shapes[part])) for part in shapes}
    assert sizes["encoder"] == 785 * 500 + 501 * 40
    assert sizes["decoder"] == 21 * 500 + 501 * 784


def test_grey_models_see_and_draw_grey():
    stage, params = made(CONFIG)
    grey = jnp.broadcast_to(jnp.mean(IMAGES, axis=-1, keepdims=True), IMAGES.shape)
    means = stage.posterior(params, IMAGES).mean, stage.posterior(params, grey).mean
    np.testing.assert_allclose(*means, atol=1e-6)
    decoded = stage.decode(params, means[0])
    np.testing.assert_array_equal(decoded[..., :1] + jnp.zeros(3), decoded)


def test_models_of_color_tell_its_channels_apart():
    stage, params = made(COLOR)
    z = stage.posterior(params, IMAGES).mean
    assert jnp.max(jnp.abs(z - stage.posterior(params, IMAGES[..., ::-1]).mean)) > 0.1
    assert jnp.max(jnp.ptp(stage.decode(params, z), axis=-1)) > 0.1


def test_a_reconstruction_comes_with_the_two_terms_of_the_bound():
    stage, params = made(CONFIG)
    found = stage.reconstruct(params, IMAGES, tiny.keys(3))
    np.testing.assert_allclose(found.image, stage.decode(params, found.latents), atol=1e-6)
    x = (jnp.mean(IMAGES, axis=-1).reshape(3, 16) + 1) / 2
    y = (found.image[..., 0].reshape(3, 16) + 1) / 2
    expected = {
        "negative_log_likelihood": -bernoulli(x, jnp.log(y / (1 - y))),
        "kl": kl_to_standard_normal(stage.posterior(params, IMAGES)),
    }
    assert found.terms.keys() == expected.keys()
    for name, term in expected.items():
        np.testing.assert_allclose(found.terms[name], term, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(("config", "bits"), [(CONFIG, 1.0), (COLOR, None)])
def test_a_network_that_knows_nothing_pays_for_every_value(config, bits):
    """Weights of zero: fair coins, or N(1/2, 1) at 8-bit values, and a posterior that is the prior.

    The latter in closed form: log2(256 sqrt(2 pi)) + E[(x - 1/2)^2] / 2 ln 2.
    """
    stage = config.build()
    shapes = jax.eval_shape(stage.init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes) | unit(2)
    values = np.random.default_rng(0).integers(0, 256, (200, 4, 4, 3))
    terms = stage.reconstruct(params, jnp.float32(values / 127.5 - 1), tiny.keys(200)).terms
    assert not np.any(terms["kl"])
    found = bits_per_dimension(-terms["negative_log_likelihood"], 16 * config.image_channels)
    square = np.mean(((values + 0.5) / 256 - 0.5) ** 2) + 1 / 12 / 256**2
    bits = bits or np.log2(256 * np.sqrt(2 * np.pi)) + square / 2 / np.log(2)
    np.testing.assert_allclose(np.mean(found), bits, rtol=1e-4)


def test_an_examples_draw_depends_on_its_key_alone():
    stage, params = made(CONFIG)
    keys = tiny.keys(3)
    a = stage.reconstruct(params, IMAGES, keys)
    b = stage.reconstruct(params, IMAGES, keys.at[0].set(jax.random.key(9)))
    np.testing.assert_array_equal(a.latents[1:], b.latents[1:])
    assert jnp.max(jnp.abs(a.latents[0] - b.latents[0])) > 1e-3


def test_the_last_layer_is_the_one_that_paints():
    stage, params = made(CONFIG)
    kernel = params
    for name in stage.last_layer:
        kernel = kernel[name]
    assert kernel.shape == (5, 16)
