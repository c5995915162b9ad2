"""The KL autoencoder as a first stage."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.autoencoders.latents import draw, unit
from ldm_jax.config import KLAutoencoder
from ldm_jax.types import Gaussian
from tests.support import tiny

CONFIG = tiny.experiment().first_stage.model


@pytest.fixture(scope="module")
def stage():
    return CONFIG.build()


@pytest.fixture(scope="module")
def params(stage):
    return tiny.drawn(stage.init)


@pytest.fixture(scope="module")
def jitted(stage):
    """The stage with compiled functions."""
    compiled = {name: jax.jit(getattr(stage, name)) for name in ("posterior", "encode", "decode")}
    return stage._replace(**compiled)


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(1), (3, 8, 8, 3), minval=-1.0)


@pytest.mark.parametrize("mults", [(1,), (1, 2), (1, 2, 2), (1, 1, 2, 2)])
def test_latents_are_smaller_by_the_factor(mults):
    stage = replace(CONFIG, channel_mults=mults, z_channels=3).build()
    assert stage.factor == 2 ** (len(mults) - 1)
    assert stage.channels == 3
    params = jax.eval_shape(stage.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, 16, 24, 3), jnp.float32)
    keys = jax.eval_shape(lambda: tiny.keys(2))
    z = jax.eval_shape(stage.encode, params, images, keys)
    assert z.shape == (2, 16 // stage.factor, 24 // stage.factor, 3)
    assert jax.eval_shape(stage.decode, params, z).shape == images.shape


def test_a_new_stage_has_scale_one(stage):
    shapes = jax.eval_shape(stage.init, jax.random.key(0))
    assert shapes.keys() == {"encoder", "decoder", "shift", "scale"}
    new = jax.jit(lambda key: {name: stage.init(key)[name] for name in ("shift", "scale")})
    jax.tree.map(np.testing.assert_array_equal, new(jax.random.key(0)), unit(stage.channels))


def test_attention_is_where_requested():
    config = replace(CONFIG, channel_mults=(1, 2, 2), attention_factors=(2,), mid_attention=True)
    params = jax.eval_shape(config.build().init, jax.random.key(0))
    found = {f"{part}/{name}" for part in ("encoder", "decoder") for name in params[part]}
    assert {name for name in found if "attn" in name} == {
        "encoder/down_1_attn_0",
        "encoder/mid_attn",
        "decoder/mid_attn",
        "decoder/up_1_attn_0",
        "decoder/up_1_attn_1",
    }


def test_the_originals_kl_f8_has_its_number_of_parameters():
    """83 653 863 in the original kl-f8 with z of 4 (the autoencoder of Stable Diffusion)."""
    params = jax.eval_shape(KLAutoencoder().build().init, jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(params)) == 83_653_863 + 2 * 4  # and the scale


def test_latents_are_scaled_and_images_are_not(stage, jitted, params, images):
    """A scale of 0.5 halves the latents, and decoding undoes it."""
    whole = {**params, **unit(stage.channels)}
    halved = {**whole, "scale": whole["scale"] / 2}
    z = jitted.encode(whole, images, tiny.keys(3))
    np.testing.assert_allclose(jitted.encode(halved, images, tiny.keys(3)), 0.5 * z, rtol=1e-6)
    np.testing.assert_array_equal(jitted.decode(halved, 0.5 * z), jitted.decode(whole, z))
    q, p = jitted.posterior(halved, images), jitted.posterior(whole, images)
    np.testing.assert_array_equal(q.mean, p.mean)


def test_encoding_draws_from_the_posterior(stage, jitted, params, images):
    one = {**params, **unit(stage.channels)}
    q = jitted.posterior(one, images[:1])
    keys = tiny.keys(4000)
    draws = draw(Gaussian(*(jnp.repeat(x, 4000, axis=0) for x in q)), keys)
    stds = jnp.exp(0.5 * q.log_variance[0])
    np.testing.assert_array_less(jnp.abs(draws.mean(0) - q.mean[0]) / stds, 5 / np.sqrt(4000))
    np.testing.assert_allclose(draws.std(0) / stds, 1.0, atol=5 / np.sqrt(8000))
    z = jitted.encode(one, jnp.repeat(images[:1], 3, axis=0), keys[:3])
    np.testing.assert_allclose(z, draws[:3], atol=1e-5)


def test_an_examples_latents_depend_on_its_image_and_key_alone(jitted, params, images):
    keys = tiny.keys(3)
    z = jitted.encode(params, images, keys)
    changed = jitted.encode(params, images.at[0].set(0.0), keys.at[0].set(jax.random.key(9)))
    np.testing.assert_array_equal(z[1:], changed[1:])
    assert jnp.max(jnp.abs(z[0] - changed[0])) > 0.1


def test_log_variances_stay_in_the_originals_range(stage, params, images):
    for bias, bound in ((1e3, 20.0), (-1e3, -30.0)):
        encoder = params["encoder"]
        quant = {**encoder["quant_conv"], "bias": jnp.full(4, bias)}
        moved = {**params, "encoder": {**encoder, "quant_conv": quant}}
        q = stage.posterior(moved, images[:1])
        assert np.all(q.log_variance == bound)
        assert np.all(np.abs(q.mean) > 500)
