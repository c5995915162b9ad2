"""Recognises a model from what others say of it: a first stage from the keys and shapes of its
state dict or from the config.json of diffusers, and the config of a Stable Diffusion model.

Each setting is decided by the majority of the weights that show it, so that a missing or misshapen
weight is reported as such, and does not change the setting.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, get_args

from ldm_jax.autoencoders import (
    Autoencoder,
    FirstStageModel,
    KLAutoencoder,
    TinyAutoencoder,
    VQAutoencoder,
)
from ldm_jax.errors import InputError, reading
from ldm_jax.weights.names import tiny
from ldm_jax.weights.names.autoencoder import Description
from ldm_jax.weights.table import Shape

GROUPS = 32  # of every normalisation in the original; not visible in shapes


def autoencoder(shapes: Mapping[str, Shape]) -> Autoencoder:
    """The KL or VQ autoencoder whose state dict has these shapes.

    Raises:
        InputError: they belong to neither, or to one that a config cannot describe.
    """
    shapes = {_original(key): shape for key, shape in shapes.items()}
    levels = _numbers(r"encoder\.down\.(\d+)\.", shapes)
    channels = _size(shapes, (r"encoder\.(conv_in|down\.0\.block\.0\.norm1)\.(weight|bias)", 0))
    z_channels = _size(
        shapes, (r"decoder\.conv_in\.weight", 1), (r"post_quant_conv\.(weight|bias)", 0)
    )
    widths = [
        _size(shapes, (rf"encoder\.down\.{n}\.block\.\d+\.(norm2|conv1|conv2)\.(weight|bias)", 0))
        for n in levels
    ]
    if not (channels and z_channels and widths and all(widths)):
        raise InputError(
            "these weights are of no KL or VQ autoencoder in the original layout: expected keys "
            f"such as encoder.conv_in.weight and decoder.conv_in.weight; found {_some(shapes)}"
        )
    listed = ", ".join(map(str, widths))
    if any(width % channels for width in widths):
        raise InputError(
            f"the levels of the encoder have {listed} channels: expected multiples of {channels}, "
            "those of encoder.conv_in"
        )
    if any(width % GROUPS for width in widths):
        raise InputError(
            f"the levels of the encoder have {listed} channels, which the original's {GROUPS} "
            "groups do not divide: expected --config CONFIG.py, whose model sets norm_groups"
        )
    settings = {
        "channels": channels,
        "channel_mults": tuple(width // channels for width in widths),
        "num_res_blocks": len(_numbers(r"encoder\.down\.\d+\.block\.(\d+)\.", shapes)),
        "attention_factors": tuple(2**n for n in _numbers(r"encoder\.down\.(\d+)\.attn\.", shapes)),
        "mid_attention": any(key.startswith("encoder.mid.attn_1.") for key in shapes),
        "z_channels": z_channels,
        "norm_groups": GROUPS,
    }
    entries = _size(shapes, (r"quantize\.embedding\.weight", 0))
    if entries is None:
        return KLAutoencoder(**settings)
    return VQAutoencoder(**settings, codebook_size=entries)


def _original(key: str) -> str:
    """What the original calls a weight of an encoder of diffusers, of what is looked at here."""
    for there, here in (
        (r"encoder\.down_blocks\.(\d+)\.resnets\.", r"encoder.down.\1.block."),
        (r"encoder\.down_blocks\.(\d+)\.attentions\.", r"encoder.down.\1.attn."),
        (r"encoder\.down_blocks\.(\d+)\.", r"encoder.down.\1."),
        (r"encoder\.mid_block\.attentions\.0\.", "encoder.mid.attn_1."),
    ):
        key = re.sub(f"^{there}", here, key)
    return key


def tiny_autoencoder(shapes: Mapping[str, Shape]) -> TinyAutoencoder:
    """The tiny autoencoder whose state dict, in either form, has these shapes."""
    return TinyAutoencoder(**tiny.fields_of(shapes))


def of_diffusers(settings: Mapping[str, Any]) -> Description:
    """The first stage that a config.json of diffusers describes.

    Raises:
        InputError: it is of another class, or of a network that no config here can be.
    """
    kinds = {kind.diffusers_class: kind for kind in get_args(FirstStageModel)}
    kinds.pop(None)
    kind = kinds.get(settings.get("_class_name"))
    if kind is None:
        raise InputError(
            f"_class_name is {settings.get('_class_name')!r}: expected one of {', '.join(kinds)}"
        )
    with reading("config.json", "the settings of an autoencoder as diffusers writes them"):
        return kind.read_diffusers(settings)


UNET = "model.diffusion_model."
# input channels with and without z, width of the cross-attention, of an embedded noise level
STABLE_DIFFUSION = {
    (4, 768, None): ("v1",),
    (9, 768, None): ("v1-inpainting",),
    (4, 1024, None): (
        "v2",
        "v2-base",
    ),  # differ only in the prediction: v at 768 pixels, eps at 512
    (9, 1024, None): ("v2-inpainting",),
    (5, 1024, None): ("v2-depth",),
    (7, 1024, None): ("x4-upscaler",),
    (4, 1024, 2048): ("v2-1-unclip",),
    (4, 1024, 1536): ("v2-1-unclip-small",),
}


def stable_diffusion(shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """The configs that may be of a state dict of these shapes; () for other models."""
    vector = _size(shapes, (rf"{UNET}label_emb\.0\.0\.weight", 1))
    in_channels = _size(shapes, (rf"{UNET}input_blocks\.0\.0\.weight", 1))
    tokens_width = _size(shapes, (rf"{UNET}.*\.attn2\.to_[kv]\.weight", 1))
    found = STABLE_DIFFUSION.get((in_channels, tokens_width, vector), ())
    if found == ("v1",) and any(key.startswith("cond_stage_model.model.visual.") for key in shapes):
        found = ("v1-variations",)
    return tuple(f"configs/sd/{name}.py" for name in found)


def _numbers(pattern: str, shapes: Mapping[str, Shape]) -> list[int]:
    """The different numbers in the keys that begin with a pattern, in order."""
    return sorted({int(found[1]) for found in map(re.compile(pattern).match, shapes) if found})


def _size(shapes: Mapping[str, Shape], *places: tuple[str, int]) -> int | None:
    """The size of most weights, by patterns of keys and an axis each; None where no key matches."""
    sizes = Counter(
        shape[axis]
        for pattern, axis in places
        for key, shape in shapes.items()
        if re.fullmatch(pattern, key) and len(shape) > axis
    )
    return sizes.most_common(1)[0][0] if sizes else None


def _some(shapes: Mapping[str, Shape], count: int = 5) -> str:
    """A few of the keys, for messages."""
    keys = list(shapes)
    rest = f" and {len(keys) - count} more" if len(keys) > count else ""
    return f"{', '.join(keys[:count]) or 'no weights'}{rest}"
