"""First stages that compute in bfloat16: finite, and near what float32 gives."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.autoencoders.latents import draw, scaled
from ldm_jax.metrics.reconstruction import psnr
from tests.support import tiny

FLOOR = 40.0  # dB, of the reconstruction in bfloat16 against that in float32 (docs/parity.md)
LEVELS = {"channels": 16, "channel_mults": (1, 2), "mid_attention": True}
MODELS = {
    "kl": replace(tiny.experiment().first_stage.model, **LEVELS),
    "vq": replace(tiny.vq_experiment("images").model, **LEVELS),
}


@pytest.fixture(scope="module", params=MODELS)
def stages(request):
    """The same first stage twice, in float32 and bfloat16, compiled; and drawn params."""

    def compiled(compute):
        stage = replace(MODELS[request.param], compute=compute).build()

        @jax.jit
        def reconstruct(params, images):
            z = draw(stage.posterior(params, images), tiny.keys(len(images)))
            return stage.decode(params, scaled(params, z)), z

        return stage, reconstruct

    (stage, exact), (_, fast) = compiled("float32"), compiled("bfloat16")
    params = tiny.drawn(stage.init)
    params["decoder"]["conv_out"]["kernel"] *= 0.3  # images mostly inside [-1, 1]
    return exact, fast, params


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(0), (4, 16, 16, 3), minval=-1.0)


def test_a_reconstruction_in_bfloat16_stays_above_the_floor(stages, images):
    exact, fast, params = stages
    (expected, z), (found, latents) = exact(params, images), fast(params, images)
    assert found.dtype == latents.dtype == jnp.float32
    assert np.all(psnr(expected, found) > FLOOR)
    assert np.max(np.abs(latents - z)) < 0.05 * np.std(z)
    assert np.max(np.abs(found - expected)) > 1e-4  # or else it would not be bfloat16


def test_activations_beyond_float16_stay_finite(stages, images):
    """Half precision turns images black where a decoder's activations pass 65504."""
    exact, fast, params = stages
    decoder = params["decoder"]
    large = jax.tree.map(lambda x: 1e6 * x, decoder["conv_in"])
    params = {**params, "decoder": {**decoder, "conv_in": large}}
    (expected, _), (found, _) = exact(params, images), fast(params, images)
    assert np.all(np.isfinite(found))
    assert np.all(psnr(expected, found) > FLOOR)
