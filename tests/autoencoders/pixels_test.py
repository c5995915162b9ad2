"""Pixel space: images are their own latents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.autoencoders.latents import factor
from ldm_jax.autoencoders.pixels import Pixels
from ldm_jax.config import FirstStageExperiment
from ldm_jax.errors import InputError
from ldm_jax.training.first_stage import first_stage_task
from tests.support import tiny

IMAGES = jax.random.uniform(jax.random.key(0), (2, 4, 6, 3), minval=-1.0, maxval=1.0)


def test_images_are_their_own_latents_and_nothing_trains():
    stage = Pixels().build()
    params = stage.init(jax.random.key(0))
    z = stage.encode(params, IMAGES, tiny.keys(2))
    np.testing.assert_array_equal(z, IMAGES)
    np.testing.assert_array_equal(stage.decode(params, z), IMAGES)
    np.testing.assert_array_equal(stage.posterior(params, IMAGES).mean, IMAGES)
    assert (stage.factor, stage.channels, stage.parts) == (1, 3, ())


def test_a_factor_that_the_config_names_scales_them():
    stage, params = Pixels().build(), factor(3, 0.5)
    z = stage.encode(params, IMAGES, tiny.keys(2))
    np.testing.assert_array_equal(z, 0.5 * IMAGES)
    np.testing.assert_allclose(stage.decode(params, z), IMAGES, rtol=1e-6)
    assert jnp.all(jnp.isneginf(stage.posterior(params, IMAGES).log_variance))


def test_a_training_of_them_alone_is_refused(tmp_path, image_folder):
    data = tiny.experiment(image_folder).data
    experiment = FirstStageExperiment(model=Pixels(), data=data)
    with pytest.raises(InputError, match=r"model is Pixels\(\): expected a first stage that can"):
        first_stage_task(experiment, tmp_path / "run")
