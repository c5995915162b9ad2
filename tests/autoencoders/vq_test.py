"""The VQ autoencoder as a first stage."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.config import VQAutoencoder
from tests.support import tiny

CONFIG = VQAutoencoder(
    channels=8,
    channel_mults=(1, 2),
    num_res_blocks=1,
    z_channels=2,
    norm_groups=4,
    mid_attention=False,
    codebook_size=5,
)


@pytest.fixture(scope="module")
def stage():
    built = CONFIG.build()
    names = ("posterior", "encode", "decode", "reconstruct")
    return built._replace(**{name: jax.jit(getattr(built, name)) for name in names})


@pytest.fixture(scope="module")
def params(stage):
    drawn = tiny.drawn(stage.init)
    drawn["quantizer"]["embedding"] = jax.random.normal(jax.random.key(3), (5, 2))
    return drawn


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(1), (3, 8, 8, 3), minval=-1.0)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (VQAutoencoder(), 55_322_782),
        (VQAutoencoder(mid_attention=False), 53_219_486),
        (
            VQAutoencoder(
                channel_mults=(1, 2, 2, 4),
                z_channels=4,
                codebook_size=16384,
                attention_factors=(8,),
            ),
            67_717_295,
        ),
        (
            VQAutoencoder(
                channel_mults=(1, 1, 2, 2, 4),
                z_channels=8,
                codebook_size=16384,
                attention_factors=(16,),
            ),
            69_593_371,
        ),
    ],
    ids=["vq-f4", "vq-f4-noattn", "vq-f8", "vq-f16"],
)
def test_the_originals_have_their_numbers_of_parameters(config, count):
    shapes = jax.eval_shape(config.build().init, jax.random.key(0))
    scale = 2 * config.z_channels
    assert sum(x.size for x in jax.tree.leaves(shapes)) == count + scale


def test_the_second_stage_sees_latents_before_they_are_rounded(stage, params, images):
    z = stage.encode(params, images, tiny.keys(3))
    h = stage.posterior(params, images).mean
    np.testing.assert_array_equal(z, (h - params["shift"]) * params["scale"])
    np.testing.assert_array_equal(z, stage.encode(params, images, tiny.keys(3, seed=9)))
    made = stage.reconstruct(params, images, tiny.keys(3))
    np.testing.assert_array_equal(made.latents, h)


def test_decoding_rounds(stage, params, images):
    """So latents that are near a code decode as the code does, and as training saw it."""
    z = stage.encode(params, images, tiny.keys(3))
    made = stage.reconstruct(params, images, tiny.keys(3))
    np.testing.assert_allclose(stage.decode(params, z), made.image, atol=1e-4)
    codes = params["quantizer"]["embedding"][made.codes]
    rounded = (codes - params["shift"]) * params["scale"]
    np.testing.assert_allclose(stage.decode(params, rounded), made.image, atol=1e-4)
    assert len(np.unique(made.codes)) > 1


def test_bfloat16_keeps_weights_and_outputs_float32(params, images):
    half = replace(CONFIG, compute="bfloat16").build()
    shapes = jax.eval_shape(half.init, jax.random.key(0))
    assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    z = jax.jit(half.posterior)(params, images).mean
    whole = jax.jit(CONFIG.build().posterior)(params, images).mean
    assert z.dtype == jnp.float32
    error = jnp.abs(z - whole).max() / jnp.abs(whole).max()
    assert 1e-5 < error < 0.05
