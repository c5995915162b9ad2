"""From a config to functions: the only place that asks which kind a config is."""

from tokenizers import Tokenizer

from ldm_jax import config as c
from ldm_jax.backbones.unet import unet
from ldm_jax.conditioning.compose import together
from ldm_jax.conditioning.condition import BuildContext
from ldm_jax.diffusion.model import diffusion_model
from ldm_jax.types import (
    Conditioner,
    DiffusionModel,
    FirstStage,
)
from ldm_jax.weights.names import condition as condition_names
from ldm_jax.weights.names import model as model_names
from ldm_jax.weights.table import under


def build_conditioner(
    config: c.Condition, tokenizer: Tokenizer | None, first_stage: FirstStage
) -> Conditioner:
    """The conditioner of a config; captions need their tokenizer."""
    return config.build(BuildContext({"tokens": tokenizer}, first_stage))


def build_condition_names(
    config: c.Condition, channels: int, beside: c.Condition | None = None
) -> condition_names.ConditionNames:
    """What the original calls the weights of a conditioner, beside latents of so many channels.

    Args:
        beside: a second condition.
    """
    own = config.names(channels)
    if beside is None:
        return own
    told = beside.names(channels)
    return own._replace(
        table=[*own.table, *under(told.table, "beside/")],
        concat=told.concat,
        unused=(*own.unused, *told.unused),
    )


def build_model_names(experiment: c.Experiment) -> model_names.Names:
    """What the original calls the weights of a whole model."""
    first_stage = experiment.first_stage.model.original_names()
    channels = experiment.first_stage.model.build().channels
    answers = 2 if experiment.diffusion.learned_variance else 1
    told = build_condition_names(experiment.condition, channels, experiment.beside)
    return model_names.names(experiment.model, channels, answers * channels, first_stage, told)


def build_model(experiment: c.Experiment, tokenizer: Tokenizer | None) -> DiffusionModel:
    """The whole model of an experiment."""
    first_stage = experiment.first_stage.model.build()
    conditioner = build_conditioner(experiment.condition, tokenizer, first_stage)
    if experiment.beside:
        beside = build_conditioner(experiment.beside, None, first_stage)
        conditioner = together(conditioner, beside)
    outputs = 2 if experiment.diffusion.learned_variance else 1
    c_z = first_stage.channels
    return diffusion_model(
        unet(experiment.model, c_z, outputs * c_z),
        conditioner,
        first_stage,
        experiment.diffusion.build_process(),
        experiment.diffusion.build_prediction(),
    )
