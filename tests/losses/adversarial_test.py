"""The game between a first stage and its discriminator, on worked examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.losses import adversarial
from ldm_jax.losses.patchgan import PatchGAN, smallest

REAL = np.array([2.0, 0.5, -1.0, 0.0])
FAKE = np.array([-3.0, 0.25, 1.0, -0.5])


def logits(values):
    return jnp.asarray(values, jnp.float32).reshape(2, 2, 1, 1)


def test_hinge():
    """Half of E max(0, 1 - D(x)) + E max(0, 1 + D(y)), and -E D(y)."""
    d = adversarial.hinge.discriminator(logits(REAL), logits(FAKE))
    assert d == pytest.approx(0.5 * ((0 + 0.5 + 2 + 1) / 4 + (0 + 1.25 + 2 + 0.5) / 4))
    assert adversarial.hinge.generator(logits(FAKE)) == pytest.approx(-FAKE.mean())


def test_vanilla_and_non_saturating():
    """Cross-entropy of both kinds; against it -E D(y), or the cross-entropy of being believed."""
    half = 0.5 * (np.log1p(np.exp(-REAL)).mean() + np.log1p(np.exp(FAKE)).mean())
    for game in (adversarial.vanilla, adversarial.non_saturating):
        assert game.discriminator(logits(REAL), logits(FAKE)) == pytest.approx(half, rel=1e-6)
    assert adversarial.vanilla.generator(logits(FAKE)) == pytest.approx(-FAKE.mean())
    predicted = np.log1p(np.exp(-FAKE)).mean()
    assert adversarial.non_saturating.generator(logits(FAKE)) == pytest.approx(predicted, rel=1e-6)


def test_the_adaptive_weight():
    """|a| / (|b| + 1e-4), at most 1e4."""
    a, b = jnp.full((2, 2), 3.0), jnp.full((2, 2), 0.5)
    assert adversarial.adaptive_weight(a, b) == pytest.approx(6.0 / 1.0001)
    assert adversarial.adaptive_weight(a, 0 * b) == pytest.approx(1e4)
    assert adversarial.adaptive_weight(0 * a, b) == 0


def test_r1_is_half_the_squared_gradient():
    """Of D(x) = sum a x, the gradient of an image's logit is a everywhere."""
    a = jnp.arange(12.0).reshape(2, 2, 3)
    penalty = adversarial.r1(
        lambda x: jnp.sum(a * x, axis=(1, 2, 3), keepdims=True), jnp.ones((5, 2, 2, 3))
    )
    assert penalty == pytest.approx(0.5 * float(jnp.sum(a**2)))


def test_lecam_pulls_logits_to_the_other_sides_mean():
    means = {"real": jnp.array(1.0), "fake": jnp.array(-1.0)}
    above = np.mean(np.maximum(REAL + 1.0, 0) ** 2)
    below = np.mean(np.maximum(1.0 - FAKE, 0) ** 2)
    assert adversarial.lecam(logits(REAL), logits(FAKE), means) == pytest.approx(above + below)


@pytest.mark.parametrize(("layers", "side"), [(3, 70), (2, 34), (1, 16)])
def test_a_logit_sees_a_patch(layers, side):
    """The receptive field of one logit (Isola et al. 2017, appendix 6.1.2: 70 and 16 pixels)."""
    network = PatchGAN(channels=2, layers=layers)
    x = jax.random.normal(jax.random.key(0), (1, 96, 96, 3))
    params = jax.jit(network.init)(jax.random.key(1), x)

    def middle(x):  # normalised by constants, or else each logit sees the whole batch
        logits = PatchGAN(2, layers, average=lambda mean: 0 * mean + 1.0).apply(params, x)
        return logits[0, logits.shape[1] // 2, logits.shape[2] // 2, 0]

    seen = np.abs(jax.grad(middle)(x)[0]).sum(-1) > 0
    assert np.ptp(np.flatnonzero(seen.any(1))) + 1 == side
    assert np.ptp(np.flatnonzero(seen.any(0))) + 1 == side


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_smallest_image(layers):
    network = PatchGAN(channels=2, layers=layers)

    def side(pixels):
        x = jax.ShapeDtypeStruct((1, pixels, pixels, 3), jnp.float32)
        return jax.eval_shape(lambda x: network.init_with_output(jax.random.key(0), x)[0], x).shape

    least = smallest(layers)
    assert side(least)[1:3] == (1, 1)
    assert 0 in side(least - 1)


def test_the_batch_norm_has_the_batchs_mean_and_variance():
    """Two halves whose means are averaged are normalised as the whole."""
    network = PatchGAN(channels=4, layers=1)
    x = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
    params = network.init(jax.random.key(1), x)
    spread = PatchGAN(4, 1, average=lambda mean: jax.lax.pmean(mean, "halves"))
    halves = jax.vmap(lambda x: spread.apply(params, x), axis_name="halves")(
        x.reshape(2, 2, 16, 16, 3)
    )
    np.testing.assert_allclose(
        halves.reshape(4, *halves.shape[2:]), network.apply(params, x), atol=1e-4
    )
