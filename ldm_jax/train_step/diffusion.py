"""The objective of the second stage (Rombach et al. 2022, eq. 3), and its variations."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ldm_jax.adapters.adapter import Adapters, adapted, merged
from ldm_jax.conditioning.dropout import TOGETHER, Apart, drop
from ldm_jax.diffusion.denoiser import Output, predict
from ldm_jax.diffusion.losses import noise as noises
from ldm_jax.diffusion.losses import resampling, training_times, uncertainty
from ldm_jax.diffusion.losses.settings import DiffusionLoss
from ldm_jax.diffusion.losses.simple import huber, simple
from ldm_jax.diffusion.losses.vlb import bound, frozen
from ldm_jax.diffusion.losses.weights import min_snr, of_raw, p2
from ldm_jax.diffusion.prediction import Prediction
from ldm_jax.diffusion.process import alpha_sigma_like
from ldm_jax.train_step import prior_preservation
from ldm_jax.train_step.state import Objective, Outcome, all_gather, example_keys, in_parts
from ldm_jax.types import Array, Denoised, DiffusionModel, Params, Process

TRAINED = ("denoiser", "conditioner")
NONE: Adapters = {}


def init_helpers(process: Process, config: DiffusionLoss) -> Params:
    """The parts of params that only training needs: "uncertainty" and "history"."""
    parts = {}
    if config.learned_weight:
        parts["uncertainty"] = uncertainty.init(process)
    if config.times == "loss_aware":
        parts["history"] = resampling.empty(process.T)
    return parts


def diffusion_objective(
    model: DiffusionModel,
    config: DiffusionLoss,
    drop_rate: float,
    batch_size: int,
    parts: int = 1,
    adapters: Adapters = NONE,
    apart: Apart = TOGETHER,
    prior: float | None = None,
) -> Objective:
    """What trains denoiser and conditioner, where the latter is not frozen; or adapters alone.

    Args:
        drop_rate: how often the condition is dropped.
        batch_size: examples of a step, over all devices.
        parts: into how many they are cut, one after the other in memory.
        adapters: of the model, which are all that is trained where there are any.
        apart: what is dropped by itself, see `dropout.drop`.
        prior: see `diffusion_loss`.
    """
    whole = adapted(model, adapters)
    loss = diffusion_loss(whole, config, drop_rate, prior, apart)
    averaged = TRAINED if model.conditioner.trained else TRAINED[:1]
    averaged = ("adapters",) if adapters else averaged
    trained = (*averaged, "uncertainty") if config.learned_weight else averaged

    def outcome(params, batch, key, step, average):
        chosen = {name: params[name] for name in trained}

        def of_part(part):
            def of_trained(chosen):
                whole = merged(adapters, {**params, **chosen})
                return loss(whole, part, example_keys(key, part))

            (_, (metrics, *seen)), gradients = jax.value_and_grad(of_trained, has_aux=True)(chosen)
            return (gradients, metrics), seen

        found, (t, losses) = in_parts(of_part, batch, parts)

        def change(parts):
            if "history" not in parts:
                return parts
            seen = (all_gather(x, batch["position"], batch_size, average) for x in (t, losses))
            return {**parts, "history": resampling.remember(parts["history"], *seen)}

        return Outcome(*average(found), change)

    return Objective(trained, averaged, outcome, helpers=("history",))


def diffusion_loss(
    model: DiffusionModel,
    config: DiffusionLoss,
    drop_rate: float,
    prior: float | None = None,
    apart: Apart = TOGETHER,
) -> Callable:
    """The loss on latents, drawn for each step from the first stage's posterior.

    Args:
        prior: the weight of images of a subject's class, see `prior_preservation`; None: all are
            alike.
        apart: what is dropped by itself, see `dropout.drop`.

    Returns:
        (params, batch, keys [B]) -> (scalar loss, (metrics, times [B], losses [B])); the losses
        are those before times are weighted by what is learned, or by how they were drawn.
    """
    process, prediction = model.process, model.prediction

    def loss(params, batch, keys):
        latent_keys, time_keys, noise_keys, drop_keys, offset_keys, more_keys = jnp.moveaxis(
            jax.vmap(lambda key: jax.random.split(key, 6))(keys), 1, 0
        )
        z0 = model.first_stage.encode(params["first_stage"], batch["image"], latent_keys)
        z0 = jax.lax.stop_gradient(z0)
        inputs = {name: batch[name] for name in model.conditioner.keys}
        inputs = drop(model.conditioner, inputs, drop_keys, drop_rate, z0.shape[1:3], apart)
        cond = model.condition(params, inputs)

        def network(z, timestep):
            return model.denoise(params, z, timestep, cond)

        t, importance = draw_times(config, process, params, time_keys)
        noise, added = noises.drawn(config, z0, noise_keys, offset_keys, more_keys)
        alpha, sigma = alpha_sigma_like(process, t, z0)
        z = alpha * z0 + sigma * added
        output = predict(network, process, prediction, z, t)
        at = Noised(z0, noise, z, t, alpha, sigma)
        terms = _terms(config, process, prediction, output, at)
        scale = {"simple": 1.0, "vlb": config.vlb_weight if config.kind == "hybrid" else 1.0}
        losses = sum(scale[name] * term for name, term in terms.items())
        weighted = losses
        if config.learned_weight:
            u = uncertainty.log_variance(params["uncertainty"], t)
            weighted = uncertainty.weighted(losses, u)
        if prior is not None:
            importance *= prior_preservation.weights(batch[prior_preservation.ENTRY], prior)
        total = jnp.mean(importance * weighted)
        metrics = {"loss": total}
        if len(terms) > 1 or config.learned_weight:
            metrics |= {name: jnp.mean(importance * term) for name, term in terms.items()}
        if prior is not None:
            metrics |= prior_preservation.metrics(batch[prior_preservation.ENTRY], losses)
        return total, (metrics, t, jax.lax.stop_gradient(losses))

    return loss


class Noised(NamedTuple):
    """Latents z = alpha z0 + sigma noise [B, h, w, c] at times t [B]."""

    z0: Array
    noise: Array
    z: Array
    t: Array
    alpha: Array
    sigma: Array


def _terms(
    config: DiffusionLoss, process: Process, prediction: Prediction, output: Output, at: Noised
) -> dict[str, Array]:
    """The parts of the loss by name, each [B]."""
    raw, z, z0, alpha, sigma = output.raw, at.z, at.z0, at.alpha, at.sigma
    distances = {"l2": jnp.square, "l1": jnp.abs, "huber": huber(config.huber_delta)}
    distance, weight = distances[config.distance], _weight(config)
    terms = {}
    if config.kind in ("simple", "hybrid"):
        terms["simple"] = simple(raw, prediction, z0, at.noise, alpha, sigma, distance)
        if weight:
            terms["simple"] *= jnp.ravel(of_raw(weight, prediction, alpha, sigma))
    if config.kind in ("vlb", "hybrid"):
        denoised = Denoised(prediction.x0(raw, z, alpha, sigma), output.variance_fraction)
        if config.kind == "hybrid":
            denoised = frozen(denoised)
        # an estimate of the whole bound, from one of its T terms
        terms["vlb"] = process.T * bound(process, denoised, z0, z, at.t, config.levels)
    return terms


def _weight(config: DiffusionLoss) -> Callable | None:
    """The weight of a time; None: 1."""
    return {
        "none": None,
        "min_snr": min_snr(config.min_snr_gamma),
        "p2": p2(config.p2_k, config.p2_gamma),
    }[config.weight]


def draw_times(
    config: DiffusionLoss, process: Process, params: Params, keys: Array
) -> tuple[Array, Array]:
    """Times [B] at which to train, and the weights [B] that make up for how they were drawn."""
    if config.times == "loss_aware":
        return resampling.draw(keys, params["history"])
    normal = (config.times_mean, config.times_std)
    t = {
        "uniform": lambda: training_times.uniform(keys, process),
        "cubic": lambda: training_times.cubic(keys, process),
        "logit_normal": lambda: training_times.logit_normal(keys, process, *normal),
        "log_normal": lambda: training_times.log_normal(keys, process, *normal),
    }[config.times]()
    if process.discrete or config.kind != "simple":  # the bound is that of a chain of T steps
        t = training_times.whole(t, process)
    return t, jnp.ones(len(keys))
