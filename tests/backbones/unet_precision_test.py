"""A denoiser that computes in bfloat16: near float32, and float32 in all that is kept."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.config import DiffusionLoss
from ldm_jax.train_step.diffusion import diffusion_objective
from ldm_jax.types import Cond
from tests.support import tiny


def of(compute):
    base = tiny.experiment()
    return replace(
        base,
        model=replace(base.model, channels=16, compute=compute),
        conditions=(replace(base.conditions[0], compute=compute),),
    )


def test_predictions_in_bfloat16_are_near_those_in_float32():
    exact, params, _ = tiny.model(of("float32"))
    fast, _, _ = tiny.model(of("bfloat16"))
    z = jax.random.normal(jax.random.key(0), (4, 8, 8, 2))
    steps, tokens = jnp.arange(4), {"tokens": jnp.arange(32).reshape(4, 8) % 12}

    def predict(model):
        @jax.jit
        def both(params):
            cond = model.conditioner.apply(params["conditioner"], tokens)
            return model.denoise(params, z, steps, cond), cond.tokens

        return both(params)

    for found, expected in zip(predict(fast), predict(exact), strict=True):
        assert found.dtype == expected.dtype == jnp.float32
        error = np.abs(found - expected)
        assert np.sqrt(np.mean(error**2)) < 0.02 * np.std(expected)
        assert np.max(error) > 1e-5  # or else it would not be bfloat16


def test_gradients_and_losses_stay_float32_where_products_are_bfloat16():
    model, params, _ = tiny.model(of("bfloat16"))
    batch = {
        "image": jnp.zeros((2, 8, 8, 3)),
        "tokens": jnp.zeros((2, 8), jnp.int32),
        "position": jnp.arange(2),
    }
    objective = diffusion_objective(model, DiffusionLoss(), 0.0, 2, parts=2)

    def learned(params):
        key, step = jax.random.key(0), jnp.array(0)
        return objective.outcome(params, batch, key, step, lambda tree: tree)[:2]

    traced = jax.make_jaxpr(learned)(params)
    assert {x.dtype for x in traced.out_avals} == {jnp.dtype("float32")}
    products = [line for line in str(traced).splitlines() if "dot_general[" in line]
    assert sum(":bf16" in line for line in products) > 0.5 * len(products)


def test_what_is_added_to_the_skips_takes_their_type():
    """Control in float32 beside a network in bfloat16."""
    model, params, _ = tiny.model(of("bfloat16"))
    z, tokens = jnp.zeros((1, 8, 8, 2)), jnp.zeros((1, 8, 8))
    cond = Cond(tokens=tokens, added={name: jnp.ones((1, 8, 8, 16)) for name in ("skip_0", "mid")})
    shape = jax.eval_shape(model.denoise, params, z, jnp.zeros(1), cond)
    assert (shape.shape, shape.dtype) == (z.shape, jnp.float32)
