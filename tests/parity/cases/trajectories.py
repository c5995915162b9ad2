"""Whole trajectories of small models against the stored reference.

python -m tests.parity.cases.trajectories     prints how far they are apart
"""

import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import config as c
from ldm_jax.autoencoders.latents import unit
from ldm_jax.diffusion import spacing
from ldm_jax.diffusion.denoiser import denoiser
from ldm_jax.diffusion.guidance.classifier_free import classifier_free
from ldm_jax.diffusion.guidance.joint import joint
from ldm_jax.diffusion.guidance.scale import constant
from ldm_jax.diffusion.samplers.loop import sample
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.weights import table
from tests.parity import compare
from tests.parity.cases import drawn
from tests.parity.cases import trajectory_cases as cases
from tests.parity.cases.networks import channels_first, channels_last
from tests.parity.folders import ARRAYS


def experiment(case: cases.Case) -> c.Experiment:
    """The whole model of a case; its process is the original's of most models."""
    return c.Experiment(
        first_stage=c.FirstStageExperiment(model=cases.FIRST_STAGE),
        model=cases.UNET,
        conditions=(case.condition,) if case.condition else (),
        diffusion=c.Diffusion(beta_start=0.0015, beta_end=0.0195),
    )


def tokenizer(case: cases.Case):
    """Of the vocabulary that the case has, if it reads captions."""
    if not isinstance(case.condition, c.Text):
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{piece}\n" for piece in cases.VOCABULARY))
        file.flush()
        return tokens.load(file.name, case.condition.length)


def ours(name: str) -> np.ndarray:
    """The latents at the end, laid out as the original's."""
    case = cases.CASES[name]
    described = experiment(case)
    names = described.original_names()
    params = table.to_here(names.table, drawn.state(table.shapes(names.table)))
    params.setdefault("conditioner", {})
    params["first_stage"] |= unit(cases.CHANNELS)
    model = described.build({"tokens": tokenizer(case)})
    inputs = {key: jnp.asarray(x) for key, x in cases.HERE[name].items()}
    grid = spacing.times("uniform", model.process, cases.STEPS)

    @jax.jit
    def trajectory(params, z, inputs):
        cond = model.condition(params, inputs)

        def network(z, steps, cond=cond):
            return model.denoise(params, z, steps, cond)

        guided = denoiser(network, model.process, model.prediction)
        if inputs:
            null = model.conditioner.null(cases.B, cases.SIDE, cases.SIDE)
            conds = model.condition(params, null), cond
            both = joint(network, conds, model.process, model.prediction)
            guided = classifier_free(guided, both, constant(cases.GUIDANCE))
        keys = jax.random.split(jax.random.key(0), cases.B)
        return sample(build_sampler("ddim")(), guided, model.process, grid, z, keys)

    with jax.default_matmul_precision("highest"):
        return np.asarray(channels_first(trajectory(params, channels_last(cases.start()), inputs)))


def pairs(name: str) -> compare.Pairs:
    """Ours and the reference."""
    with np.load(ARRAYS / "trajectories.npz") as reference:
        return {name: (ours(name), reference[name])}


if __name__ == "__main__":
    for case_name in cases.CASES:
        print(compare.table("trajectory", pairs(case_name)))
