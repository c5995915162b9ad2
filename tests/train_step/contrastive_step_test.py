"""CLIP's objective; on eight devices it is in eight_devices.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.config import ContrastiveLoss
from ldm_jax.encoders.clip.model import CLIP, TextArchitecture, embed_captions, embed_images
from ldm_jax.encoders.clip.vision import Architecture, normalised
from ldm_jax.losses.contrastive import contrastive
from ldm_jax.train_step.contrastive import contrastive_objective, init_clip
from tests.support import tiny

MODEL = CLIP(Architecture(8, 1, 2, 6, 4, 8), TextArchitecture(8, 1, 2, 5, 16))
N = 8


@pytest.fixture(scope="module")
def params():
    return init_clip(MODEL, ContrastiveLoss(), jax.random.key(0))


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return {
        "image": rng.uniform(-1, 1, (N, 8, 8, 3)).astype("f"),
        "tokens": rng.integers(0, 16, (N, 5), np.int32),
        "position": np.arange(N, dtype=np.int32),
    }


def outcome(params, batch, parts):
    objective = contrastive_objective(MODEL, ContrastiveLoss(), N, parts)
    made = jax.jit(lambda params: objective.outcome(params, batch, None, None, lambda x: x)[:2])
    return made(params)


@pytest.fixture(scope="module")
def whole(params, batch):
    return outcome(params, batch, 1)


def test_it_is_the_loss_of_what_both_encoders_say(params, batch, whole):
    clip = params["clip"]
    x = embed_images(MODEL, clip, normalised((batch["image"] + 1) / 2))
    y = embed_captions(MODEL, clip, batch["tokens"])
    x, y = (z / jnp.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
    loss, logits = contrastive(x, y, 1 / 0.07)
    _, metrics = whole
    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-5)
    right = np.argmax(logits, axis=1) == np.arange(N)
    assert metrics["accuracy"] == pytest.approx(right.mean())
    assert metrics["logit_scale"] == pytest.approx(1 / 0.07, rel=1e-5)


def test_every_array_of_both_encoders_learns(whole):
    for name, x in tiny.arrays(whole[0]).items():
        assert np.abs(x).max() > 0, name


def test_parts_of_a_batch_one_after_the_other_are_the_batch(params, batch, whole):
    """Unlike a mean of losses of parts: each image meets the captions of all parts."""
    tiny.assert_close(outcome(params, batch, 4), whole, rtol=1e-4, atol=1e-4)


def test_the_scale_of_logits_stops_at_the_largest(params):
    objective = contrastive_objective(MODEL, ContrastiveLoss(max_scale=100.0), N)
    changes = objective.outcome(params, BLANK, None, None, lambda x: x).changes
    for scale, kept in ((99.0, 99.0), (101.0, 100.0)):
        clip = {"clip": {**params["clip"], "log_scale": jnp.log(scale)}}
        assert jnp.exp(changes(clip)["clip"]["log_scale"]) == pytest.approx(kept, rel=1e-5)


BLANK = {
    "image": jnp.zeros((N, 8, 8, 3)),
    "tokens": jnp.zeros((N, 5), jnp.int32),
    "position": jnp.arange(N),
}
