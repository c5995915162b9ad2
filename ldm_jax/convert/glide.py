"""Recognises the models of GLIDE by the keys and shapes of their files."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from ldm_jax.autoencoders import Pixels
from ldm_jax.backbones.unet import UNet
from ldm_jax.conditioning import Condition, GLIDEText, Inpainting, LowResolution
from ldm_jax.data.settings import Data
from ldm_jax.diffusion.losses.settings import DiffusionLoss
from ldm_jax.diffusion.sampling import Sampling
from ldm_jax.diffusion.settings import Diffusion
from ldm_jax.diffusion.spacing import FAST27
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.weights.table import Shape

OWN = ("padding_embedding", "transformer.resblocks.0.attn.c_qkv.weight", "input_blocks.0.0.weight")
HEAD = 64  # channels of a head, which shapes do not tell
DOUBLING = re.compile(r"output_blocks\.(\d+)\.[12]\.in_layers\.0\.weight")
# input channels -> what is given beside noise: an image with a region to inpaint, a small image
KINDS = {3: (False, False), 7: (True, False), 6: (False, True), 10: (True, True)}


def is_glide(keys: Collection[str]) -> bool:
    """Whether a file holds a model of GLIDE."""
    return all(key in keys for key in OWN)


def recognised(shapes: Mapping[str, Shape]) -> Experiment:
    """The model whose state dict has these shapes: base, upsampler, or one of these that inpaints.

    Raises:
        InputError: one that GLIDE has not published.
    """
    channels, inputs = shapes["input_blocks.0.0.weight"][:2]
    if inputs not in KINDS:
        raise InputError(
            f"input_blocks.0.0.weight takes {inputs} channels: expected 3 (base), 7 (inpainting), "
            "6 (upsampler) or 10 (inpainting upsampler)"
        )
    inpaints, enlarges = KINDS[inputs]
    conditions: tuple[Condition, ...] = (_text(shapes),)
    conditions += (Inpainting(form="glide"),) if inpaints else ()
    conditions += (LowResolution(factor=4, enlarge=True),) if enlarges else ()
    schedule = "linear" if enlarges else "cosine"
    diffusion = Diffusion(schedule, beta_start=1e-4, beta_end=0.02, learned_variance=True)
    return Experiment(
        first_stage=FirstStageExperiment(model=Pixels()),
        latent_scale=1.0,
        model=UNet(**unet_of(shapes, channels)),
        conditions=conditions,
        diffusion=diffusion,
        loss=DiffusionLoss(kind="hybrid"),
        sampling=_sampling(inpaints, enlarges),
        data=Data(image_size=256 if enlarges else 64),
    )


def _text(shapes: Mapping[str, Shape]) -> GLIDEText:
    length, dim = shapes["positional_embedding"]
    return GLIDEText(
        dim=dim,
        layers=_count(r"transformer\.resblocks\.(\d+)\.", shapes),
        num_heads=max(1, dim // HEAD),
        head_dim=min(HEAD, dim),
        length=length,
        vocab_size=shapes["token_embedding.weight"][0],
        vector_dim=shapes["transformer_proj.weight"][0],
    )


def unet_of(shapes: Mapping[str, Shape], channels: int) -> dict[str, Any]:
    """The fields of a UNet whose state dict has these shapes.

    The decoder doubles the resolution in the last of a level's blocks, one more than in the
    encoder; there the last number of a level is a halving.
    """
    doublings = [int(k[1]) for k in map(DOUBLING.match, shapes) if k]
    if not doublings:
        raise InputError("no block doubles the resolution: expected a UNet of several levels")
    each = min(doublings) + 1
    firsts = range(1, _count(r"output_blocks\.(\d+)\.", shapes), each)
    first = [f"input_blocks.{n}" for n in firsts]
    return {
        "channels": channels,
        "channel_mults": tuple(
            shapes[f"{block}.0.out_layers.3.weight"][0] // channels for block in first
        ),
        "num_res_blocks": each - 1,
        "attention_factors": tuple(
            2**level for level, block in enumerate(first) if f"{block}.1.qkv.weight" in shapes
        ),
        "head_channels": HEAD,
        "scale_shift": True,
        "resample_blocks": True,
        "joint_attention": True,
    }


def _sampling(inpaints: bool, enlarges: bool) -> Sampling:
    """As the authors' notebooks draw: 100 steps for the base model, 27 for the upsampler, with less
    noise at the start and by DDIM unless it inpaints."""
    if not enlarges:
        return Sampling("ddpm", 100, "linspace", guidance=5.0 if inpaints else 3.0)
    sampler = "ddpm" if inpaints else "ddim"
    return Sampling(sampler, steps=len(FAST27), times=FAST27, noise_scale=0.997)


def _count(pattern: str, shapes: Mapping[str, Shape]) -> int:
    """How many different numbers keys have there."""
    return len({found[1] for found in map(re.compile(pattern).match, shapes) if found})
