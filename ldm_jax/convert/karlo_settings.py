"""What Karlo's models are: of shapes in the authors' files, or of diffusers' config.json."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ldm_jax.autoencoders import ImageEmbedding, Pixels
from ldm_jax.backbones.last_step import LastStepUNet
from ldm_jax.backbones.prior import FURTHER, PriorTransformer
from ldm_jax.backbones.unclip_decoder import UnCLIPDecoder
from ldm_jax.conditioning import CLIPCaption, EmbeddedImage, LowResolution
from ldm_jax.convert.glide import unet_of
from ldm_jax.data.settings import Data
from ldm_jax.diffusion.losses.settings import DiffusionLoss
from ldm_jax.diffusion.sampling import Sampling
from ldm_jax.diffusion.settings import Diffusion
from ldm_jax.encoders.clip.vision import VisionSettings
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.weights.names.clip_file import recognised
from ldm_jax.weights.names.diffusers_model import read_text, read_vision
from ldm_jax.weights.names.karlo import UPSAMPLERS
from ldm_jax.weights.table import Shape

HEAD = 64  # channels of a head, which shapes do not tell
TIMES = (1000, 833, 667, 501, 334, 167, 1)  # of the upsampler, which was trained for these alone


class Described(NamedTuple):
    """The settings of all parts.

    text, vision: fields of the two encoders of CLIP; None: there is no image encoder
    prior:        None: there is none
    size:         pixels a side of the decoder's images
    factor:       by which the upsampler enlarges them
    limit:        of embeddings, as the sampler clips them
    """

    text: dict[str, Any]
    vision: dict[str, Any] | None
    prior: PriorTransformer | None
    decoder: UnCLIPDecoder
    upsampler: LastStepUNet
    size: int = 64
    factor: int = 4
    limit: float = 10.0


def experiments(of: Described) -> dict[str, Experiment]:
    """The run of each part, by name."""
    pixels = FirstStageExperiment(model=Pixels())
    dim, cosine = of.text["embedding_dim"], Diffusion("cosine")
    vision = of.vision or {"dim": dim}
    image = EmbeddedImage(**vision, encodes=of.vision is not None)
    found = {}
    if of.prior:
        stage = ImageEmbedding(**vision, image_size=224, encodes=False, limit=of.limit)
        found["prior"] = Experiment(
            first_stage=FirstStageExperiment(model=stage),
            latent_scale=1.0,
            model=of.prior,
            conditions=(CLIPCaption(**of.text, drop=0.2),),
            diffusion=Diffusion("cosine", prediction="x0"),
            sampling=Sampling("ddpm", 25, "linspace", guidance=4.0),
            data=Data(image_size=224),
        )
    found["decoder"] = Experiment(
        first_stage=pixels,
        latent_scale=1.0,
        model=of.decoder,
        conditions=(CLIPCaption(**of.text, drop=0.1, drop_alone=0.3), image),
        diffusion=Diffusion("cosine", learned_variance=True),
        loss=DiffusionLoss(kind="hybrid"),
        sampling=Sampling("ddpm", 50, "linspace", guidance=8.0),
        data=Data(image_size=of.size),
    )
    small = LowResolution(of.factor, enlarge=True, filter="bicubic", degradation="blur")
    found["upsampler"] = Experiment(
        first_stage=pixels,
        latent_scale=1.0,
        model=of.upsampler,
        conditions=(small,),
        diffusion=cosine,
        sampling=Sampling("ddpm", times=TIMES, steps=len(TIMES)),
        data=Data(image_size=of.size * of.factor),
    )
    return found


# The authors' files


def of_original(shapes: Mapping[str, Mapping[str, Shape]]) -> Described:
    """The settings of files with these shapes: of prior, decoder, upsampler and clip."""
    clip = recognised(shapes["clip"])
    text = {
        "dim": clip.text.dim,
        "layers": clip.text.layers,
        "num_heads": clip.text.heads,
        "head_dim": clip.text.dim // clip.text.heads,
        "length": clip.text.length,
        "vocab_size": clip.text.vocab_size,
        "weights": clip.weights,
        "embedding_dim": clip.vision.dim,
    }
    vision = dict(vars(VisionSettings(clip.weights, *clip.vision)))
    first = UPSAMPLERS["first"]
    upsampler = {k.removeprefix(first): x for k, x in shapes["upsampler"].items() if first in k}
    fields = unet_of(upsampler, upsampler["input_blocks.0.0.weight"][0])
    own = {"head_channels": None, "joint_attention": False, "scale_shift": False}
    return Described(
        text,
        vision,
        _prior(shapes["prior"], clip.vision.dim),
        _decoder(shapes["decoder"]),
        LastStepUNet(**fields | own | {"mid_attention": False}),
    )


def _prior(shapes: Mapping[str, Shape], dim: int) -> PriorTransformer:
    _, places, channels = shapes["positional_embedding"]
    layers = {
        found[1]
        for found in map(re.compile(r"transformer\.resblocks\.(\d+)\.").match, shapes)
        if found
    }
    return PriorTransformer(channels, len(layers), max(1, channels // HEAD), places - FURTHER, dim)


def _decoder(shapes: Mapping[str, Shape]) -> UnCLIPDecoder:
    context, embedding = shapes["text_seq_proj.1.weight"][0], shapes["cf_param"][0]
    return UnCLIPDecoder(
        **unet_of(shapes, shapes["input_blocks.0.0.weight"][0]),
        vector_dim=2 * embedding,
        extra_tokens=shapes["clip_tok_proj.weight"][0] // context,
        context_dim=context,
    )


# diffusers' config.json


def of_pipeline(s: Mapping[str, Mapping[str, Any]]) -> Described:
    """The settings of components with these config.json."""
    text = dict(read_text(s["text_encoder"]))
    text["embedding_dim"] = s["text_encoder"].get("projection_dim", 512)
    own, project = s["decoder"], s["text_proj"]
    decoder = UnCLIPDecoder(
        **_unet(own),
        attention_factors=tuple(
            2**n for n, kind in enumerate(own["down_block_types"]) if "CrossAttn" in kind
        ),
        head_channels=own.get("attention_head_dim", 64),
        vector_dim=2 * project.get("clip_embeddings_dim", 768),
        extra_tokens=project.get("clip_extra_context_tokens", 4),
        context_dim=project["cross_attention_dim"],
    )
    first = s["super_res_first"]
    upsampler = LastStepUNet(
        **_unet(first), attention_factors=(), mid_attention=False, resample_blocks=True
    )
    size, large = own.get("sample_size", 64), first.get("sample_size", 256)
    if large % size:
        raise InputError(
            f"super_res_first has sample_size {large}: expected a multiple of the decoder's {size}"
        )
    image = read_vision(s["image_encoder"]) if "image_encoder" in s else None
    prior = None
    if "prior" in s:
        p = s["prior"]
        heads, width = p.get("num_attention_heads", 32), p.get("attention_head_dim", 64)
        sizes = p.get("num_layers", 20), heads, p.get("num_embeddings", 77)
        prior = PriorTransformer(heads * width, *sizes, p.get("embedding_dim", 768))
    limit = s["prior_scheduler"].get("clip_sample_range", 5.0)
    return Described(text, image, prior, decoder, upsampler, size, large // size, limit)


def _unet(s: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that both kinds of UNet have."""
    widths = s["block_out_channels"]
    return {
        "channels": widths[0],
        "channel_mults": tuple(width // widths[0] for width in widths),
        "num_res_blocks": s.get("layers_per_block", 2),
        "norm_groups": s.get("norm_num_groups", 32),
    }
