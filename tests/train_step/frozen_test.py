"""No step changes a part that its objective names as frozen; steps change every other part.

Networks are of one or two numbers: what is tested are the objectives.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.autoencoders.quantizer import straight_through
from ldm_jax.config import (
    Adversary,
    AutoencoderLoss,
    Codebook,
    ContrastiveLoss,
    DiffusionLoss,
    Label,
)
from ldm_jax.diffusion import prediction
from ldm_jax.encoders.clip.model import CLIP, TextArchitecture
from ldm_jax.encoders.clip.vision import Architecture
from ldm_jax.train_step import autoencoder, diffusion, power_ema
from ldm_jax.train_step.classifier import classifier_objective
from ldm_jax.train_step.contrastive import contrastive_objective, init_clip
from ldm_jax.train_step.optimizer import Optim, optimizer
from ldm_jax.train_step.state import Objective, make_train_step, new_state
from ldm_jax.types import LatentClassifier, Params, Perceptual, Reconstruction
from tests.support import tiny
from tests.support.every import PROCESSES

STEPS, BATCH, SIDE = 3, 8, 8
OPTIM = Optim(lr=1e-2, ema_decay=0.9)
LINEAR, KEY = PROCESSES["linear"], jax.random.key(7)
PIXEL = tiny.first_stage(
    encode=lambda params, images, keys: params * images[:, :1, :1, :1], channels=1
)


class Case(NamedTuple):
    """An objective over params."""

    params: Params
    objective: Objective


def batch():
    rng = np.random.default_rng(0)
    return {
        "image": rng.uniform(-1.0, 1.0, (BATCH, SIDE, SIDE, 3)).astype(np.float32),
        "tokens": rng.integers(0, 12, (BATCH, 5)).astype(np.int32),
        "label": np.arange(BATCH, dtype=np.int32) % 2,
        "position": np.arange(BATCH, dtype=np.int32),
    }


def of_diffusion(**changes):
    def denoise(params, z, timestep, cond):
        return params["denoiser"] * z + cond.tokens[:, :, None]

    conditioner = Label(2, dim=1).build(None)._replace(**changes)
    model = tiny.denoises(denoise, conditioner, PIXEL, LINEAR, prediction.eps)
    model = model._replace(denoise=denoise)
    loss = DiffusionLoss(times="loss_aware", learned_weight=True)
    params = {
        "denoiser": jnp.array(0.5),
        "conditioner": tiny.drawn(conditioner.init),
        "first_stage": jnp.array(1.0),
        **diffusion.init_helpers(LINEAR, loss),
    }
    return Case(params, diffusion.diffusion_objective(model, loss, 0.1, BATCH))


def of_first_stage(update=None):
    """With all that helps to train it, and with codes where they are to be updated somehow."""
    parts = ("encoder", "decoder", *(["quantizer"] if update else []))

    def reconstruct(params, images, keys):
        z = params["encoder"] * images
        if not update:
            kl = jnp.mean(jnp.square(z), axis=(1, 2, 3))
            return Reconstruction(params["decoder"]["kernel"] * z, {"kl": kl}, z)
        rounded, codes, terms = straight_through(z, params["quantizer"]["embedding"])
        return Reconstruction(params["decoder"]["kernel"] * rounded, terms, z, codes)

    stage = tiny.first_stage(
        reconstruct=reconstruct, parts=parts, last_layer=("decoder", "kernel"), channels=3
    )
    loss = AutoencoderLoss(
        perceptual_weight=1.0,
        learn_log_variance=True,
        codebook=Codebook(update=update or "gradient", revive_below=0.2),
        adversary=Adversary(weight=0.5, start=0, channels=2, layers=1, lecam_weight=0.1),
    )
    params = {"encoder": jnp.array(0.5), "decoder": {"kernel": jnp.array([1.5, 0.5, 1.0])}}
    if update:
        params["quantizer"] = {"embedding": jax.random.normal(KEY, (4, 3))}
    params |= autoencoder.init_helpers(stage, loss, jax.random.key(1), params)
    perceptual = Perceptual(None, lambda w, x, y: w * jnp.mean(x - y, axis=(1, 2, 3)) ** 2)
    objective = autoencoder.autoencoder_objective(stage, loss, perceptual)
    return Case({**params, "perceptual": jnp.array(2.0)}, objective)


def of_classifier():
    def network(params, z, timestep):
        return z[:, :, 0, 0] * params

    model = LatentClassifier(None, network, PIXEL, LINEAR)
    params = {"classifier": jnp.ones(2), "first_stage": jnp.array(1.0)}
    return Case(params, classifier_objective(model))


def of_clip():
    model = CLIP(Architecture(8, 1, 2, 6, 4, SIDE), TextArchitecture(8, 1, 2, 5, 16))
    params = init_clip(model, ContrastiveLoss(), jax.random.key(0))
    return Case(params, contrastive_objective(model, ContrastiveLoss(), BATCH))


CASES = {  # what makes it, what is frozen
    "diffusion": (of_diffusion, {"first_stage"}),
    "diffusion, its conditioner frozen": (
        lambda: of_diffusion(trained=False),
        {"first_stage", "conditioner"},
    ),
    "first stage": (of_first_stage, {"perceptual"}),
    "codes by gradients": (lambda: of_first_stage("gradient"), {"perceptual"}),
    "codes by moving means": (lambda: of_first_stage("ema"), {"perceptual"}),
    "classifier": (of_classifier, {"first_stage"}),
    "contrastive": (of_clip, set()),
}


def trained(case):
    """The state after some steps; all params are in the state, where a step could change them."""
    optim = optimizer(OPTIM, STEPS, case.objective.trained)
    step = make_train_step(case.objective, optim, OPTIM.ema_decay)
    step = jax.jit(power_ema.keeping(step, (0.1,)), static_argnums=4)
    state = power_ema.with_averages(new_state(case.params, optim, case.objective), (0.1,))
    for _ in range(STEPS):
        state, _ = step(state, {}, batch(), KEY, one)
    return state


def one(tree):
    return tree


def changed(before, after):
    """The names of the parts that are not the same bit for bit."""
    before, after = ({name: tiny.arrays(x) for name, x in p.items()} for p in (before, after))
    assert before.keys() == after.keys()
    return {
        name
        for name, part in before.items()
        if any(part[array].tobytes() != after[name][array].tobytes() for array in part)
    }


@pytest.mark.parametrize("name", CASES)
def test_steps_change_what_is_not_frozen_and_nothing_else(name):
    """Nor do averages hold anything frozen."""
    make, frozen = CASES[name]
    case = make()
    assert set(case.objective.frozen(case.params)) == frozen
    state = trained(case)
    assert changed(case.params, state.params) == case.params.keys() - frozen
    assert state.ema.keys() == set(case.objective.averaged) <= case.params.keys() - frozen
    assert state.power.keys() == {"0.100"}
    assert state.power["0.100"].keys() == state.ema.keys()


def test_an_objective_that_changes_a_part_it_does_not_name_is_found():
    case = of_diffusion()
    forgets = case._replace(objective=case.objective._replace(helpers=()))  # its history of losses
    assert "history" in forgets.objective.frozen(case.params)
    assert "history" in changed(case.params, trained(forgets).params)
