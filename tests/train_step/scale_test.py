"""The scale of latents, on a first stage that hands its images on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.autoencoders.latents import scaled, unit, unscaled
from ldm_jax.train_step.latent_scale import measure_scale
from tests.support import tiny

KEY = jax.random.key(0)
MEAN = np.array([2.0, -1.0, 0.0])
SPREAD = np.array([1.0, 0.1, 5.0])


def encode(params, images, keys):
    return scaled(params, images)


STAGE = tiny.first_stage(encode=encode, channels=3)


def batches(*stds, mean=2.0, each=8):
    """Gaussian images: `each` batches of each standard deviation."""
    rng = np.random.default_rng(0)
    for std in stds:
        for _ in range(each):
            yield {"image": rng.normal(mean, std, (16, 8, 8, 3)).astype(np.float32)}


def test_unscaled_undoes_scaled():
    params = {"shift": jnp.array([1.0, 2.0, 3.0]), "scale": jnp.array([0.5, 1.0, 4.0])}
    z = jax.random.normal(KEY, (2, 4, 4, 3))
    np.testing.assert_allclose(unscaled(params, scaled(params, z)), z, atol=1e-6)
    np.testing.assert_array_equal(scaled(unit(3), z), z)


@pytest.mark.parametrize("std", [0.2, 1.0, 30.0])
def test_one_factor_gives_unit_variance_and_leaves_the_mean(std, capsys):
    before = {"shift": jnp.full(3, 9.0), "scale": jnp.full(3, 5.0)}
    found = measure_scale(STAGE, before, batches(std), KEY, count=6)
    np.testing.assert_array_equal(found["shift"], np.zeros(3))
    np.testing.assert_allclose(found["scale"] * std, np.ones(3), atol=0.01)
    assert np.unique(found["scale"]).size == 1
    out = capsys.readouterr().out
    assert f"latent scale factor {found['scale'][0]:.5f};" in out
    assert "warning" not in out


def test_one_factor_counts_the_spread_between_channels(capsys):
    """The std is over all components about their common mean (appendix G)."""
    found = measure_scale(STAGE, unit(3), batches(SPREAD, mean=MEAN), KEY, count=6)
    std = np.sqrt(np.mean(SPREAD**2) + np.var(MEAN))
    np.testing.assert_allclose(found["scale"], 1 / std, rtol=0.01)


def test_each_channel_has_zero_mean_and_unit_variance(capsys):
    found = measure_scale(STAGE, unit(3), batches(SPREAD, mean=MEAN), KEY, "channels", count=6)
    np.testing.assert_allclose(found["shift"], MEAN, atol=0.2)
    np.testing.assert_allclose(found["scale"], 1 / SPREAD, rtol=0.02)
    z = scaled(found, np.concatenate([b["image"] for b in batches(SPREAD, mean=MEAN, each=6)]))
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(z.std((0, 1, 2)), 1.0, atol=1e-4)
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["one", "channels"])
def test_data_of_another_variance_afterwards_is_noticed(kind, capsys):
    measure_scale(STAGE, unit(3), batches(1.0, 3.0), KEY, kind, count=8)
    assert "warning: scaled latents should have a std between" in capsys.readouterr().out


def test_only_the_batches_asked_for_are_measured():
    few = measure_scale(STAGE, unit(3), batches(1.0, 3.0), KEY, count=8)
    np.testing.assert_allclose(few["scale"], 1.0, atol=0.01)
    both = measure_scale(STAGE, unit(3), batches(1.0, 3.0, 3.0), KEY, count=16)
    np.testing.assert_allclose(1 / both["scale"] ** 2, (1.0 + 9.0) / 2, rtol=0.02)


@pytest.mark.parametrize("broken", [0.0, np.nan])
def test_latents_that_do_not_vary_have_no_scale(broken):
    spread = np.array([1.0, broken, 1.0])
    with pytest.raises(FloatingPointError, match="the first stage has collapsed"):
        measure_scale(STAGE, unit(3), batches(spread), KEY, "channels", count=2)
