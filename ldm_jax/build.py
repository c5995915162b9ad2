"""From a config to functions: the only place that asks which kind a config is."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from tokenizers import Tokenizer

from ldm_jax import config as c
from ldm_jax.autoencoders.kl import kl_autoencoder
from ldm_jax.backbones.unet import UNet
from ldm_jax.conditioning import tokenizer as tokens
from ldm_jax.conditioning.label import label
from ldm_jax.conditioning.text import TextTransformer, text
from ldm_jax.conditioning.unconditional import unconditional
from ldm_jax.diffusion import prediction, process
from ldm_jax.diffusion.samplers.ddim import ddim
from ldm_jax.diffusion.samplers.ddpm import ddpm
from ldm_jax.errors import InputError
from ldm_jax.types import Array, Cond, Conditioner, FirstStage, LatentDiffusion, Process, Sampler


def build_first_stage(config: c.KLAutoencoder) -> FirstStage:
    """The first stage of a config."""
    match config:
        case c.KLAutoencoder():
            return kl_autoencoder(config)


def build_process(config: c.Diffusion) -> Process:
    """The noising process of a config."""
    match config.schedule:
        case "linear":
            betas = process.linear_betas(config.steps, config.beta_start, config.beta_end)
        case "scaled_linear":
            betas = process.scaled_linear_betas(config.steps, config.beta_start, config.beta_end)
        case "cosine":
            betas = process.cosine_betas(config.steps)
    return process.ddpm(betas)


def build_prediction(config: c.Diffusion) -> prediction.Prediction:
    """What the network of a config predicts."""
    match config.prediction:
        case "eps":
            return prediction.eps
        case "v":
            return prediction.v


def build_sampler(name: str) -> Callable[[Array], Sampler]:
    """eta -> the sampler of that name."""
    match name:
        case "ddim":
            return ddim
        case "ddpm":
            return lambda eta: ddpm()
    raise InputError(f"sampler '{name}' is unknown: choose ddim or ddpm")


def build_conditioner(
    config: c.Unconditional | c.Label | c.Text, tokenizer: Tokenizer | None
) -> Conditioner:
    """The conditioner of a config; captions need their tokenizer."""
    match config:
        case c.Unconditional():
            return unconditional()
        case c.Label():
            return label(config.num_classes, config.dim)
        case c.Text():
            transformer = TextTransformer(
                vocab_size=tokenizer.get_vocab_size(),
                dim=config.dim,
                layers=config.layers,
                heads=config.num_heads,
                head_dim=config.head_dim,
                length=config.length,
            )
            return text(transformer, tokens.encode(tokenizer, ""))


def build_model(experiment: c.Experiment, tokenizer: Tokenizer | None) -> LatentDiffusion:
    """The whole model of an experiment."""
    first_stage = build_first_stage(experiment.first_stage.model)
    conditioner = build_conditioner(experiment.condition, tokenizer)
    unet = UNet(experiment.model, first_stage.channels)

    def denoiser(params, z, steps, cond):
        return unet.apply({"params": params}, z, steps, cond)

    def init(key: Array):
        unet_key, conditioner_key = jax.random.split(key)
        conditioner_params = conditioner.init(conditioner_key)
        side = 2 ** (len(experiment.model.channel_mults) - 1)
        z = jnp.zeros((1, side, side, first_stage.channels))
        cond: Cond = conditioner.apply(conditioner_params, conditioner.null(1))
        unet_params = unet.init(unet_key, z, jnp.zeros(1, jnp.int32), cond)["params"]
        return {"denoiser": unet_params, "conditioner": conditioner_params}

    return LatentDiffusion(
        init,
        denoiser,
        conditioner,
        first_stage,
        build_process(experiment.diffusion),
        build_prediction(experiment.diffusion),
    )


# what a number may be, by the name of its field in whatever section
RANGES = (
    (
        "at least 1",
        lambda x: x >= 1,
        "image_size batch_size min_objects max_objects num_train num_test channels num_res_blocks "
        "z_channels norm_groups num_heads head_channels head_dim transformer_depth dim layers "
        "num_classes steps save_every keep log_every num_samples",
    ),
    (
        "0 or more",
        lambda x: 0 <= x < math.inf,
        "max_bad_images threads warmup sample_every kl_weight weight_decay",
    ),
    ("more than 0", lambda x: 0 < x < math.inf, "lr clip"),
    ("0 to 1", lambda x: 0 <= x <= 1, "drop eta ema_decay"),
    ("0 or more, and less than 1", lambda x: 0 <= x < 1, "b1 b2"),
    ("more than 0, and less than 1", lambda x: 0 < x < 1, "beta_start beta_end"),
    ("a finite number", math.isfinite, "guidance"),
    ("0 to 2^32 - 1", lambda x: 0 <= x < 2**32, "seed"),
    ("at least 3, [CLS], a word and [SEP]", lambda x: x >= 3, "length"),
    ("more than 4, the special tokens", lambda x: x > 4, "vocab_size"),
    ("one number a level, each at least 1", lambda x: min(x, default=0) >= 1, "channel_mults"),
    ("numbers of at least 1", lambda x: min(x, default=1) >= 1, "attention_factors"),
    ("red, green and blue, 0 to 255", lambda x: 0 <= min(x) <= max(x) <= 255, "background"),
)


def check_ranges(config: Any, prefix: str = "") -> None:
    """Raises InputError for the first number in a config that its field cannot be."""
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            check_ranges(value, f"{name}.")
            continue
        for expected, fits, names in RANGES:
            if field.name in names.split() and value is not None and not fits(value):
                raise InputError(f"{name} is {value}: expected {expected}")


def check_first_stage(experiment: c.FirstStageExperiment, prefix: str = "") -> None:
    """Raises InputError where the parts of the config cannot go together."""
    factor = 2 ** (len(experiment.model.channel_mults) - 1)
    size = experiment.data.image_size
    if size is None:
        raise InputError(f"{prefix}data.image_size is not set: expected a number of pixels")
    if size % factor:
        raise InputError(
            f"{prefix}data.image_size is {size}: expected a multiple of {factor}, the factor by "
            f"which the first stage downsamples, such as {math.ceil(size / factor) * factor}"
        )
    _check_divides(experiment.model, "norm_groups", f"{prefix}model.")


def _check_divides(network: c.KLAutoencoder | c.UNet, name: str, prefix: str) -> None:
    """Raises InputError unless the field `name` divides the channels of every level."""
    for channels in (mult * network.channels for mult in network.channel_mults):
        if channels % getattr(network, name):
            raise InputError(
                f"{prefix}{name} is {getattr(network, name)}: expected a divisor of {channels}, "
                f"the channels of a level ({prefix}channels times one of {prefix}channel_mults)"
            )


def check_diffusion(experiment: c.Experiment) -> None:
    """Raises InputError where the parts of the config cannot go together."""
    unet, size = experiment.model, experiment.data.image_size
    halvings = len(experiment.first_stage.model.channel_mults) + len(unet.channel_mults) - 2
    factor = 2**halvings
    if size is None:
        raise InputError("data.image_size is not set: expected a number of pixels")
    if size % factor:
        raise InputError(
            f"data.image_size is {size}: expected a multiple of {factor}, the factor by which "
            f"first stage and UNet downsample, such as {math.ceil(size / factor) * factor}"
        )
    check_first_stage(experiment.first_stage, "first_stage.")
    _check_divides(unet, "head_channels" if unet.head_channels else "num_heads", "model.")
    _check_divides(unet, "norm_groups", "model.")
    if unet.positions and unet.channels % 4:
        raise InputError(
            f"model.channels is {unet.channels}: expected a multiple of 4, since model.positions "
            "tells attention rows and columns by sines and cosines"
        )
    if not 1 <= experiment.sampling.steps <= experiment.diffusion.steps:
        raise InputError(
            f"sampling.steps is {experiment.sampling.steps}: expected 1 to diffusion.steps, "
            f"which is {experiment.diffusion.steps}"
        )
