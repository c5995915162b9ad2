"""The bound on the log-probability of images, measured over a data set."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.evaluate.bound import negative_bound
from ldm_jax.types import Reconstruction
from tests.support import tiny

IMAGES = jax.random.normal(jax.random.key(0), (5, 2, 2, 3))


def reconstruct(params, images, keys):
    """A likelihood of noise u, whose mean is the images' sum; a KL of their sum of squares."""
    u = jax.vmap(jax.random.uniform)(keys)
    terms = {
        "negative_log_likelihood": 2 * u * jnp.sum(images, axis=(1, 2, 3)),
        "kl": params * jnp.sum(jnp.square(images), axis=(1, 2, 3)),
    }
    return Reconstruction(images, terms, images)


STAGE = tiny.first_stage(reconstruct=reconstruct)


def test_the_bound_is_the_sum_of_its_terms_image_by_image():
    batches = [np.asarray(IMAGES[:3]), np.asarray(IMAGES[3:])]
    found = negative_bound(STAGE, 0.5, batches, jax.random.key(1), draws=2000)
    kl = 0.5 * np.square(IMAGES).sum(axis=(1, 2, 3))
    total = np.asarray(IMAGES).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found["kl"], kl, rtol=1e-5)
    spread = 5 * np.abs(total) * np.sqrt(1 / 3 / 2000) + 1e-4
    assert np.all(np.abs(found["negative_log_likelihood"] - total) < spread)
    np.testing.assert_allclose(
        found["negative_bound"], found["negative_log_likelihood"] + found["kl"], rtol=1e-6
    )
