"""CLIP's image embedding as one token, or with noise as a vector."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ldm_jax import config as c
from ldm_jax import training
from ldm_jax.conditioning.clip_image import prepared
from ldm_jax.conditioning.condition import BuildContext
from ldm_jax.diffusion.augmentation import EMBEDDING_LEVELS as LEVELS
from ldm_jax.diffusion.augmentation import noised_embedding as noised
from ldm_jax.encoders.clip.vision import MEAN, STD
from ldm_jax.errors import InputError
from ldm_jax.nn.embedding import step_embedding
from tests.support import tiny

SIZES = {"channels": 8, "layers": 1, "num_heads": 2, "dim": 6, "patch": 4, "size": 8}
IMAGES = np.random.default_rng(0).standard_normal((2, 8, 8, 3), np.float32)


def made(config):
    """A conditioner and drawn params."""
    conditioner = config.build(BuildContext({}, None))
    return conditioner, tiny.drawn(conditioner.init)


def test_an_image_is_one_token_and_no_image_is_none():
    conditioner, params = made(c.CLIPImage(**SIZES))
    tokens = conditioner.apply(params, {"picture": IMAGES}).tokens
    assert (tokens.shape, conditioner.trained) == ((2, 1, 6), False)
    assert np.any(tokens[0] != tokens[1])
    dropped = conditioner.apply(params, conditioner.null(2))
    np.testing.assert_array_equal(dropped.tokens, np.zeros((2, 1, 6)))


def test_with_captions_it_is_a_vector_with_the_level_of_its_noise():
    conditioner, params = made(c.UnCLIP(**SIZES))
    plain, own = made(c.CLIPImage(**SIZES, weights="openclip"))[0], {"tower": params["tower"]}
    noise, level = np.random.default_rng(1).standard_normal((2, 6), np.float32), jnp.asarray([3, 9])
    inputs = {"picture": IMAGES, "picture_noise": noise, "noise_level": level}
    cond = conditioner.apply(params, inputs)
    assert cond.tokens is None
    e = plain.apply(own, inputs).tokens[:, 0]
    expected = noised(e, noise, level, params["mean"], params["std"])
    np.testing.assert_allclose(cond.vector[:, :6], expected, atol=1e-6)
    np.testing.assert_array_equal(cond.vector[:, 6:], step_embedding(level, 6))
    hidden = conditioner.with_null(inputs, conditioner.null(2))
    np.testing.assert_array_equal(conditioner.apply(params, hidden).vector, np.zeros((2, 12)))


def test_noise_takes_an_embedding_to_a_draw_from_all_of_them():
    mean, std = jnp.asarray([3.0, -1.0]), jnp.asarray([2.0, 0.5])
    x, noise = np.random.default_rng(2).standard_normal((2, 400, 2), np.float32)
    least, most = (
        (noised(mean + std * x, noise, jnp.full(400, level), mean, std) - mean) / std
        for level in (0, LEVELS - 1)
    )
    first, last = (np.cos((n / LEVELS + 0.008) / 1.008 * np.pi / 2) ** 2 for n in (0, 1))
    bar = last / first  # Nichol and Dhariwal 2021, eq. 17
    np.testing.assert_allclose(least, np.sqrt(bar) * x + np.sqrt(1 - bar) * noise, atol=1e-5)
    np.testing.assert_allclose(most, noise, atol=1e-3)


def test_the_encoder_crops_the_centre_of_an_image():
    bright = np.zeros((8, 24, 3), np.uint8)
    bright[:, 8:16] = 255
    seen = prepared(Image.fromarray(bright), 4)
    assert (seen.shape, seen.dtype) == ((4, 4, 3), np.float32)
    np.testing.assert_allclose(seen[:, 1:3] * STD + MEAN, 1.0, atol=0.1)
    np.testing.assert_allclose(prepared(Image.fromarray(bright), 8) * STD + MEAN, 1.0, atol=1e-6)


def test_images_and_their_noise_are_derived_from_examples():
    config = c.UnCLIP(**SIZES, max_noise=3)
    derive = config.derive(2)
    example, rng = {"image": np.full((16, 16, 3), 7, np.uint8)}, np.random.default_rng(0)
    found = {name: make(example, rng) for name, make in derive.items()}
    null = config.build(BuildContext({}, None)).null(1)
    assert {name: (x.shape, x.dtype) for name, x in found.items()} == {
        name: (x.shape[1:], x.dtype) for name, x in null.items()
    }
    assert {int(derive["noise_level"](example, rng)) for _ in range(99)} == {0, 1, 2}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"conditions": (c.CLIPImage(**SIZES | {"num_heads": 3}),)},
            r"conditions.0.num_heads is 3: expected a divisor of conditions.0.channels",
        ),
        (
            {"conditions": (c.CLIPImage(**SIZES | {"patch": 3}),)},
            r"conditions.0.patch is 3: expected a divisor",
        ),
        (
            {"conditions": (*tiny.experiment().conditions, c.UnCLIP(**SIZES))},
            "conditions are Text and UnCLIP: expected none that trains",
        ),
        ({"conditions": (c.UnCLIP(**SIZES),)}, "model.vector_dim is None: expected 12"),
        (
            {"conditions": (c.UnCLIP(**SIZES, max_noise=2000),)},
            "dim of UnCLIP is 6 and max_noise 2000: expected .* at most 1000",
        ),
    ],
)
def test_what_cannot_be_is_reported(changes, said):
    base = replace(tiny.experiment(None), **changes)
    base = replace(base, first_stage=training.inherit(base.first_stage, base.data))
    with pytest.raises(InputError, match=said):
        base.check()
