"""Dynamic and static thresholding."""

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.diffusion.guidance.threshold import clipped, threshold
from ldm_jax.types import Denoised

X0 = (
    jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    * jnp.array([0.2, 2.0])[:, None, None, None]
)
T = jnp.array([5, 5])


def thresholded(limit, percentile=0.995):
    return threshold(lambda z, t: Denoised(X0), limit, percentile)(X0, T).x0


def test_an_example_within_the_limit_is_left_as_it_is():
    np.testing.assert_array_equal(thresholded(1.0)[0], X0[0])
    np.testing.assert_array_equal(thresholded(jnp.inf), X0)


def test_the_others_are_clipped_at_their_percentile_and_scaled_to_the_limit():
    for limit, percentile in ((1.0, 0.995), (1.5, 0.9)):
        s = np.quantile(np.abs(X0[1]), percentile)
        assert s > limit
        expected = np.clip(X0[1], -s, s) / s * limit
        found = thresholded(limit, percentile)[1]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        np.testing.assert_allclose(jnp.max(jnp.abs(found)), limit, rtol=1e-6)


def test_static_thresholding_clips_to_the_range_of_data():
    low, high = jnp.full(3, -1.0), jnp.array([1.0, 1.0, 0.5])
    found = clipped(lambda z, t: Denoised(X0), low, high)(X0, T).x0
    np.testing.assert_array_equal(found, np.clip(X0, low, high))
