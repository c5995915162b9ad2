"""The whole way from noise to images is compiled once for each sampler."""

import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.config import Diffusion, Label, Sampling
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import SAMPLERS, build_sampler
from ldm_jax.sampling.classifier import towards_classes
from ldm_jax.sampling.generate import Extras, make_generate
from ldm_jax.types import LatentClassifier
from tests.support import tiny

SIDE = 4
PLAIN = {
    "steps": 3,
    "spacing": "trailing",
    "guidance": 2.0,
    "seed": 0,
    "rescale": 0.5,
    "interval": (0.0, 50.0),
    "limit": 3.0,
    "scale": 0.5,
}
CHANGES = {
    "steps": 7,
    "spacing": "karras",
    "guidance": 5.0,
    "seed": 9,
    "rescale": 0.0,
    "interval": (0.7, 1.0),
    "limit": 0.4,
    "scale": 4.0,
}
OTHERS = {"eta": 0.5, "s_churn": 2.0, "s_tmin": 1.0, "s_tmax": 1.0, "s_noise": 1.1}


class Traced:
    """A model and a classifier of a few operations, which count how often they are traced."""

    def __init__(self):
        self.times = 0
        conditioner = Label(3, 2).build(None)
        process = Diffusion("cosine", steps=20).build_process()

        def denoise(params, z, steps, cond):
            self.times += 1
            given = jnp.mean(cond.tokens, axis=(1, 2))[:, None, None, None]
            z, steps = (jnp.repeat(x, len(given) // len(x), axis=0) for x in (z, steps))
            return jnp.tanh(z) * (given + 0.01 * steps[:, None, None, None]) + given

        def network(params, z, steps):
            self.times += 1
            return jnp.stack([jnp.sum(z, (1, 2, 3)), jnp.sum(z**2, (1, 2, 3))], axis=1)

        stage = tiny.first_stage(decode=lambda params, z: 0.2 * z, channels=3)
        prediction = Diffusion(prediction="v").build_prediction()
        self.model = tiny.denoises(denoise, conditioner, stage, process, prediction)
        classifier = LatentClassifier(None, network, stage, process)
        self.guide = towards_classes(classifier, process)
        table = jnp.array([[1.0, 0.5], [-1.0, 0.2], [0.3, 0.3], [0.0, 0.0]])
        self.params = dict.fromkeys(("denoiser", "first_stage", "classifier"))
        self.params["conditioner"] = {"embedding": table}


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_number_that_is_asked_for_is_compiled_in(name):
    """Each changes the images, and none is traced again."""
    traced = Traced()
    generate = make_generate(
        traced.model, build_sampler(name), SIDE, "cosine", guides=[traced.guide]
    )

    def draw(guidance, seed, rescale, interval, limit, scale, **trajectory):
        asked = Sampling(sampler=name, **trajectory)
        return np.asarray(
            generate(
                traced.params,
                {"label": np.array([0, 1], np.int32)},
                seed + np.arange(2, dtype=np.uint32),
                sampling.padded_times(asked, traced.model.process),
                guidance,
                sampling.arguments(asked),
                None,
                Extras(
                    rescale=rescale,
                    interval=interval,
                    limit=limit,
                    guides={
                        "classes": np.array([0, 1], np.int32),
                        "classifier_scale": np.full(2, scale),
                    },
                ),
            )
        )

    churn = {"s_churn": 1.0} if "s_churn" in SAMPLERS[name].options else {}
    plain = draw(**PLAIN, **churn)
    first = traced.times
    assert first > 0
    options = {option: OTHERS[option] for option in SAMPLERS[name].options}
    for changed, value in (CHANGES | options).items():
        found = draw(**{**PLAIN, **churn, changed: value})
        assert np.max(np.abs(found - plain)) > 1e-4, changed
    assert traced.times == first
