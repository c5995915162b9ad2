"""InstantID: a face beside the text, and in place of it in IdentityNet; its five points."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.adapters.adapter import adapted
from ldm_jax.adapters.instant_id import InstantID, drawn_points
from ldm_jax.adapters.settings import Base
from ldm_jax.types import Cond
from tests.support import tiny

B, SIDE = 2, 4
CONFIG = InstantID(face_dim=6, tokens=2, width=8, depth=1, heads=1, head_channels=4, stem=(4, 6))
TIMESTEP = jnp.array([3, 12])


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


Z, FACE, POINTS = normal(B, SIDE, SIDE, 2), normal(B, 6, seed=1), normal(B, 8, 8, 3, seed=2)
TOKENS = {"tokens": jnp.arange(8 * B).reshape(B, 8) % 12}


@functools.cache
def base() -> tuple[Base, dict, dict]:
    """A model of captions, its params, and those of the adapter."""
    model, params, _ = tiny.model(tiny.experiment())
    there = Base(tiny.experiment(), model)
    CONFIG.check(there)
    return there, params, tiny.drawn(CONFIG.build(there).init, params)


@pytest.fixture(autouse=True, scope="module")
def _made():
    """The arrays are made before a program that has them is traced."""
    base()


@functools.partial(jax.jit, static_argnums=0)
def predicted(config, face, points, scale=1.0):
    there, params, own = base()
    model = adapted(there.model, {"a": config.build(there)}, {"a": scale})
    params = {**params, "adapters": {"a": own}}
    cond = model.condition(params, {**TOKENS, "face": face, "points": points})
    return model.denoise(params, Z, TIMESTEP, cond)


def apart(a, b) -> float:
    return float(jnp.max(jnp.abs(a - b)))


def test_face_and_points_both_count_each_by_its_scale():
    whole = predicted(CONFIG, FACE, POINTS)
    assert apart(predicted(CONFIG, -FACE, POINTS), whole) > 1e-4
    assert apart(predicted(CONFIG, FACE, -POINTS), whole) > 1e-4
    no_face = replace(CONFIG, face_scale=0.0)
    no_points = replace(CONFIG, identity_scale=0.0)
    assert apart(predicted(no_face, FACE, POINTS), whole) > 1e-4
    # without IdentityNet the points do not count
    assert apart(predicted(no_points, FACE, POINTS), whole) > 1e-4
    assert apart(predicted(no_points, FACE, POINTS), predicted(no_points, FACE, -POINTS)) == 0
    there, params, _ = base()
    plain = jax.jit(there.model.denoise)(params, Z, TIMESTEP, there.model.condition(params, TOKENS))
    tiny.assert_close(predicted(CONFIG, FACE, POINTS, 0.0), plain, rtol=0, atol=1e-6)


def test_identity_net_attends_to_the_face_and_not_to_the_text():
    there, _, own = base()
    adapter = CONFIG.build(there)
    hint = adapter.encode(own, {"face": FACE, "points": POINTS})
    assert hint["tokens"].shape == (B, 2, 8)

    @jax.jit
    def added(tokens, hint):
        return adapter.signal(own, hint, Z, TIMESTEP, Cond(tokens=tokens)).added

    text = normal(B, 3, 8, seed=4)
    tiny.assert_same(added(text, hint), added(-text, hint))
    other = added(text, {**hint, "tokens": -hint["tokens"]})
    assert apart(other["mid"], added(text, hint)["mid"]) > 1e-4


def test_without_a_face_its_embedding_is_zero_and_the_points_stay():
    adapter = CONFIG.build(base()[0])
    null = adapter.null(3, SIDE, SIDE)
    assert adapter.dropped == ("face",)
    assert not jnp.any(null["face"]) and null["face"].shape == (3, 6)
    assert null["points"].shape == (3, 8, 8, 3)


def test_points_are_discs_over_dimmed_limbs_to_the_nose():
    points = [(40, 40), (88, 40), (64, 64), (44, 90), (84, 90)]
    image = drawn_points(points, (128, 120))
    assert image.shape == (128, 120, 3)
    colors = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1]]
    for (x, y), color in zip(points, colors, strict=True):
        np.testing.assert_array_equal(image[y, x], color)
        np.testing.assert_array_equal(image[y, x + 10], color)
    np.testing.assert_allclose(image[52, 52], [153 / 255, 0, 0], atol=1e-6)  # between
    np.testing.assert_allclose(image[77, 74], [153 / 255, 0, 153 / 255], atol=1e-6)
    assert not image[5, 5].any() and not image[64, 110].any()
    assert not image[56, 44].any()  # beside a limb, which is 8 pixels wide
