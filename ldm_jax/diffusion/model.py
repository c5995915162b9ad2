"""A diffusion model of its parts: what is diffused, by which network, under which condition."""

import functools

import jax
import jax.numpy as jnp

from ldm_jax.diffusion.prediction import Prediction
from ldm_jax.types import (
    Array,
    Backbone,
    Batch,
    Cond,
    Conditioner,
    DiffusionModel,
    FirstStage,
    Params,
    Process,
)


def diffusion_model(
    backbone: Backbone,
    conditioner: Conditioner,
    first_stage: FirstStage,
    process: Process,
    prediction: Prediction,
) -> DiffusionModel:
    """The model that denoises latents of the first stage with the backbone."""

    condition = functools.partial(_condition, conditioner)

    def init(key: Array) -> Params:
        backbone_key, conditioner_key = jax.random.split(key)
        side = backbone.multiple

        def example() -> Cond:
            params = {"conditioner": conditioner.init(key), "first_stage": first_stage.init(key)}
            return condition(params, conditioner.null(1, side, side))

        cond = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(example))
        return {
            "denoiser": backbone.init(backbone_key, cond),
            "conditioner": conditioner.init(conditioner_key),
        }

    def denoise(params: Params, z: Array, timestep: Array, cond: Cond) -> Array:
        if not backbone.shares:
            count = cond.count or len(z)
            z, timestep = (jnp.repeat(x, count // len(z), axis=0) for x in (z, timestep))
        return backbone.apply(params["denoiser"], z, timestep, cond)

    def precompute(params: Params, cond: Cond) -> Cond:
        return backbone.precompute(params["denoiser"], cond)

    parts = first_stage, process, prediction, backbone, conditioner
    return DiffusionModel(init, denoise, precompute, condition, *parts)


def with_conditioner(model: DiffusionModel, conditioner: Conditioner) -> DiffusionModel:
    """The model with another conditioner of the same output, such as one that reads embeddings."""
    condition = functools.partial(_condition, conditioner)
    return model._replace(conditioner=conditioner, condition=condition)


def _condition(conditioner: Conditioner, params: Params, inputs: Batch) -> Cond:
    """What the denoiser is conditioned on by inputs, each [B, ...]; params of the whole model."""
    if conditioner.encode:
        inputs = conditioner.encode(params["first_stage"], inputs)
    return conditioner.apply(params["conditioner"], inputs)
