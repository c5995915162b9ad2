"""Captions and a condition concatenated to the latents; only captions are dropped."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import config as c
from ldm_jax import training
from ldm_jax.conditioning import compose
from ldm_jax.conditioning.condition import BuildContext
from ldm_jax.conditioning.depth import normalised, resized
from ldm_jax.conditioning.dropout import drop
from ldm_jax.conditioning.low_resolution import noised
from ldm_jax.errors import InputError
from ldm_jax.types import Gaussian
from tests.support import tiny

BESIDE = {
    "inpainting": c.Inpainting(form="stable_diffusion"),
    "depth": c.Depth(),
    "low resolution": c.LowResolution(factor=2, max_noise=7),
}


def experiment(name):
    base = tiny.with_conditions(tiny.experiment(), BESIDE[name])
    return replace(base, model=replace(base.model, vector_entries=10)) if "low" in name else base


@pytest.fixture(scope="module", params=BESIDE, name="case")
def _case(request):
    """A model, its params, and inputs that are no nulls."""
    model, params, _ = tiny.model(experiment(request.param))
    rng = np.random.default_rng(0)
    null = model.conditioner.null(2, 4, 4)
    inputs = {
        key: jnp.asarray((rng.random(x.shape) * 5).astype(x.dtype) % (2 if key == "mask" else 5))
        for key, x in null.items()
    }
    return model, params, inputs


def test_both_are_given(case):
    model, params, inputs = case
    cond = model.condition(params, inputs)
    assert cond.tokens.shape == (2, 8, 8)
    assert cond.concat.shape[:3] == (2, 4, 4)
    for key in inputs:
        other = inputs | {key: model.conditioner.null(2, 4, 4)[key]}
        changed = jax.tree.leaves(model.condition(params, other))
        assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(cond), changed, strict=True)), key


def test_dropout_and_guidance_drop_the_caption_alone(case):
    model, params, inputs = case
    uncond = model.conditioner.with_null(inputs, model.conditioner.null(2, 4, 4))
    dropped = drop(model.conditioner, inputs, tiny.keys(2), 1.0, (4, 4))
    tiny.assert_same(dropped, uncond)
    a, b = (model.condition(params, x) for x in (inputs, uncond))
    assert np.any(a.tokens != b.tokens)
    tiny.assert_same(a.replace(tokens=None), b.replace(tokens=None))


def test_both_reach_the_network(case):
    model, params, inputs = case
    z, steps = jnp.ones((2, 4, 4, model.first_stage.channels)), jnp.zeros(2, jnp.int32)
    cond = model.condition(params, inputs)
    network = jax.jit(model.denoise)
    raw = network(params, z, steps, cond)
    for slot in (name for name, x in vars(cond).items() if x is not None):
        other = cond.replace(**{slot: (getattr(cond, slot) + 1).astype(getattr(cond, slot).dtype)})
        assert np.any(np.abs(network(params, z, steps, other) - raw) > 1e-6), slot


def test_stable_diffusion_is_given_the_mask_before_grey():
    stage = tiny.first_stage(factor=2, posterior=lambda params, x: Gaussian(x[:, ::2, ::2], None))
    cond = c.Inpainting("stable_diffusion").build(BuildContext({}, stage))
    image, mask = jnp.full((1, 4, 4, 3), 0.5), jnp.zeros((1, 4, 4, 1)).at[:, :2].set(1.0)
    encoded = cond.encode({"shift": 0.0, "scale": 2.0}, {"image": image, "mask": mask})
    concat = cond.apply({}, encoded).concat
    np.testing.assert_array_equal(concat[0, 0, 0], [1.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(concat[0, 1, 0], [0.0, 1.0, 1.0, 1.0])


def test_noise_keeps_the_variance_and_grows_with_its_level():
    image, noise = (jax.random.normal(key, (3, 64, 64, 3)) for key in tiny.keys(2))
    x = noised(image, noise, jnp.asarray([0, 200, 999]))
    np.testing.assert_allclose(np.var(x, axis=(1, 2, 3)), 1.0, atol=0.05)
    kept = np.mean(np.asarray(x * image), axis=(1, 2, 3))
    np.testing.assert_allclose(kept[[0, 2]], [np.sqrt(1 - 1e-4), 0.027], atol=0.05)
    assert kept[0] > kept[1] > kept[2]


def test_depth_is_stretched_and_resized_without_a_shift():
    ramp = np.linspace(3.0, 5.0, 16)[:, None] * np.ones(12)
    np.testing.assert_allclose(normalised(ramp)[[0, -1], 0], [-1, 1])
    np.testing.assert_array_equal(normalised(np.ones((2, 2))), np.zeros((2, 2)))
    small = resized(ramp, (8, 4))
    assert small.shape == (8, 4)
    np.testing.assert_allclose(small[1:-1], (ramp[2:-2:2, :4] + ramp[3:-1:2, :4]) / 2, rtol=1e-6)
    np.testing.assert_allclose(resized(ramp, (16, 12)), ramp)


@pytest.mark.parametrize(
    ("second", "entries", "said"),
    [
        (c.LowResolution(factor=4), None, r"conditions.1.factor is 4: expected 2"),
        (c.LowResolution(2, max_noise=9), None, "model.vector_entries is None and max_noise"),
        (c.Depth(), 9, "model.vector_entries is 9 and max_noise .* None"),
        (c.Text(), None, "conditions Text and Text read tokens both"),
        (c.Label(dim=16), None, "tokens of conditions are 8 and 16 wide"),
    ],
)
def test_what_cannot_go_together_is_reported(second, entries, said):
    base = experiment("depth")
    first = training.inherit(base.first_stage, base.data)
    unet = replace(base.model, vector_entries=entries)
    conditions = (base.conditions[0], second)
    base = replace(base, model=unet, first_stage=first, conditions=conditions)
    with pytest.raises(InputError, match=said):
        base.check()


def test_noise_of_small_images_is_derived_with_them():
    derive = c.LowResolution(factor=2, max_noise=7).derive(2)
    example = {"image": np.zeros((8, 8, 3), np.uint8)}
    rng = np.random.default_rng(0)
    made = {name: make(example, rng) for name, make in derive.items()}
    assert {name: x.shape for name, x in made.items()} == {
        "low_resolution": (4, 4, 3),
        "low_resolution_noise": (4, 4, 3),
        "noise_level": (),
    }
    levels = {int(derive["noise_level"](example, rng)) for _ in range(200)}
    assert levels == set(range(7))


def test_published_weights_leave_what_no_file_holds_as_it_was_drawn():
    drawn = {"a": 0, "beside": {"encoder_0": {"kernel": 1}, "encoder_1": {"kernel": 2}}}
    found = compose.with_published(drawn, {"beside": {"encoder_1": {"kernel": 3}}})
    assert found == {"a": 0, "beside": {"encoder_0": {"kernel": 1}, "encoder_1": {"kernel": 3}}}
