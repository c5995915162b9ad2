"""Kinds of weight files that are recognised by their keys but not supported, to name them."""

import re
from collections.abc import Collection
from typing import NamedTuple

from ldm_jax.errors import InputError


class Kind(NamedTuple):
    """A kind of file, recognised by one of its keys."""

    key: str  # a pattern
    name: str
    instead: str
    unless: str = ""  # a pattern of a key of a file that has more


ADAPTER = "expected the model itself; sample.py takes this as --adapter"
WHOLE = "expected the file of a whole model of Stable Diffusion 1 or 2"
KINDS = (
    Kind(
        r"lora_(unet|te\d?|prior)_.*|.*[._]lora[._].*|.*\.lora_(A|B|up|down)\..*",
        "a LoRA, a low-rank change of a model's weights",
        ADAPTER,
    ),
    Kind(
        r".*\.hada_w[12]_[ab]|.*\.lokr_w[12](_[ab])?",
        "a LyCORIS, a change of a model's weights",
        ADAPTER,
    ),
    Kind(
        r"conditioner\.embedders\..*|add_embedding\.linear_1\.weight",
        "Stable Diffusion XL",
        f"it is not supported yet, {WHOLE}, or an autoencoder by itself",
    ),
    Kind(
        r"(model\.diffusion_model\.)?(joint_blocks|double_blocks)\..*",
        "a diffusion transformer, as Stable Diffusion 3 and Flux have it",
        f"it is not supported yet, {WHOLE}",
    ),
    Kind(
        r"control_model\..*|controlnet_cond_embedding\..*",
        "a ControlNet",
        ADAPTER,
    ),
    Kind(r"(adapter\.)?body\.\d+\..*", "a T2I-Adapter", ADAPTER),
    Kind(r"image_proj(\..*)?|ip_adapter(\..*)?", "an IP-Adapter", ADAPTER),
    Kind(
        r"emb_params|string_to_param(\..*)?",
        "an embedding of textual inversion",
        ADAPTER,
    ),
    Kind(
        r"(text_model\.embeddings\.)?token_embedding\.weight",
        "the text encoder of a CLIP alone",
        f"{WHOLE}, or of both encoders of a CLIP",
        unless=r"(vision_model|visual)\..*|padding_embedding",
    ),
    Kind(
        r"down_blocks\..*",
        "the denoiser of a diffusers folder alone",
        "expected the folder with model_index.json, or an autoencoder by itself",
    ),
)


def refuse_unread(keys: Collection[str]) -> None:
    """Raises InputError where the keys of a file are those of one of KINDS."""
    for kind in KINDS:
        found = next((key for key in sorted(keys) if re.fullmatch(kind.key, key)), None)
        if found and not any(re.fullmatch(kind.unless, key) for key in keys):
            raise InputError(f"this is {kind.name} (it has {found}): {kind.instead}")
