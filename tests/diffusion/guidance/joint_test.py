"""Several conditions in one call are what each of them is by itself."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.backbones.unet import UNetModule
from ldm_jax.diffusion import prediction
from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.guidance.joint import apart, joint
from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.ddpm import ddpm
from ldm_jax.types import Cond
from tests.support import tiny, traced_once

B, CONDITIONS = 2, 3
PROCESS = ddpm(betas.linear(1000))
CONFIG = replace(tiny.experiment().model, channel_mults=(1, 2), attention_factors=(1, 2))
T = jnp.array([30, 700])


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def tokens(seed):
    return {"tokens": normal(seed, B, 3, 5)}


def added(seed):
    sizes = {"skip_0": (4, 8), "skip_1": (4, 8), "skip_2": (2, 8), "skip_3": (2, 16)}
    sizes |= {"mid": (2, 16), "down_0": (4, 8)}
    return {"added": {name: normal(seed, B, side, side, C) for name, (side, C) in sizes.items()}}


SLOTS = {
    "tokens": tokens,
    "masked tokens": lambda seed: tokens(seed) | {"mask": jnp.arange(3) < jnp.array([[1], [3]])},
    "vector": lambda seed: {"vector": normal(seed, B, 32)},
    "vector and tokens": lambda seed: tokens(seed) | {"vector": normal(seed, B, 32)},
    "beside the latents": lambda seed: {"concat": normal(seed, B, 4, 4, 1)},
    "tokens and added": lambda seed: tokens(seed) | added(seed),
    "added": added,
}


def outputs(slots, **changes):
    """Of a network whose every weight counts, [(in one call, by itself)] and what it computed."""
    conds = [Cond(**slots(seed)) for seed in range(CONDITIONS)]
    unet = UNetModule(replace(CONFIG, **changes), out_channels=4)  # learns its variance
    z = normal(9, B, 4, 4, 2)
    params = tiny.drawn(unet.init, z, T, conds[0])
    kinds = PROCESS, prediction.eps

    def network(z, steps, cond):
        return unet.apply(params, z, steps, cond)

    @jax.jit
    def each(cond, z, steps):
        return denoiser(lambda z, steps: network(z, steps, cond), *kinds)(z, steps)

    together = joint(network, conds, *kinds)
    one_by_one = apart(*(partial(each, cond) for cond in conds))
    return zip(jax.jit(together)(z, T), one_by_one(z, T), strict=True)


@pytest.mark.parametrize("name", SLOTS)
def test_one_call_predicts_for_each_condition(name):
    for found, expected in outputs(SLOTS[name]):
        np.testing.assert_allclose(found.x0, expected.x0, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            found.variance_fraction, expected.variance_fraction, rtol=1e-4, atol=1e-5
        )


def test_one_call_predicts_where_the_first_attention_is_to_tokens():
    for found, expected in outputs(tokens, cross_only_factors=(1,)):
        np.testing.assert_allclose(found.x0, expected.x0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["vector and tokens", "masked tokens"])
def test_one_call_predicts_where_attention_is_to_tokens_and_image_at_once(name):
    for found, expected in outputs(SLOTS[name], joint_attention=True):
        np.testing.assert_allclose(found.x0, expected.x0, rtol=1e-4, atol=1e-4)


def test_what_precedes_the_tokens_is_computed_once():
    """The first residual block: as many operations for three conditions as for one."""
    unet = UNetModule(CONFIG, out_channels=2)
    z = normal(9, B, 4, 4, 2)
    params = traced_once.shapes(unet.init, jax.random.key(0), z, T, Cond(**tokens(0)))

    def shapes(count):
        cond = Cond(tokens=jnp.zeros((count * B, 3, 5)))
        _, seen = jax.eval_shape(
            lambda p: unet.apply(p, z, T, cond, capture_intermediates=True), params
        )
        return {
            name: x["__call__"][0].shape[0]
            for name, x in seen["intermediates"].items()
            if isinstance(x, dict) and "__call__" in x
        }

    once, thrice = shapes(1), shapes(3)
    assert {name for name in once if thrice[name] == once[name]} >= {"conv_in", "down_0_res_0"}
    assert thrice["down_0_attn_0"] == 3 * once["down_0_attn_0"]
    assert thrice["conv_out"] == 3 * B
