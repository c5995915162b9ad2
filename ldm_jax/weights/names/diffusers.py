"""What diffusers calls the weights of its AutoencoderKL and VQModel, and its config.json."""

import math
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.weights.names.autoencoder import QUANT_CONVS, Autoencoder, Description
from ldm_jax.weights.table import Row, Table

# Names: the original's, rewritten in this order

_RULES = (
    (r"\.down\.(\d+)\.", r".down_blocks.\1."),
    (r"\.block\.(\d+)\.", r".resnets.\1."),
    (r"\.attn\.(\d+)\.", r".attentions.\1."),
    (r"\.downsample\.", ".downsamplers.0."),
    (r"\.upsample\.", ".upsamplers.0."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"\.norm_out\.", ".conv_norm_out."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"(\.attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(\.attentions\.\d+)\.([qkv])\.", r"\1.to_\2."),
    (r"(\.attentions\.\d+)\.proj_out\.", r"\1.to_out.0."),
)


def names(original: Table, levels: int) -> Table:
    """The rows of an autoencoder in diffusers' names, from those in the original's."""

    def up(found: re.Match) -> str:  # diffusers counts from the lowest resolution
        return f".up_blocks.{levels - 1 - int(found[1])}."

    def renamed(row: Row) -> Row:
        keys = row.keys
        for pattern, there in ((r"\.up\.(\d+)\.", up), *_RULES):
            keys = tuple(re.sub(pattern, there, key) for key in keys)
        linear = ".attentions." in keys[0]  # there, what the original wrote as 1x1 convolutions
        return row._replace(keys=keys, shape=row.shape[:2] if linear else row.shape)

    return [renamed(row) for row in original]


# config.json


_COMMON = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",),
    "up_block_types": ("UpDecoderBlock2D",),
    "block_out_channels": (64,),
    "layers_per_block": 1,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "sample_size": 32,
    "scaling_factor": 0.18215,
    "force_upcast": True,  # of half precision; here it is float32
    "mid_block_add_attention": True,
}

_DEFAULTS = {
    "AutoencoderKL": {
        **_COMMON,
        "latent_channels": 4,
        "shift_factor": None,
        "latents_mean": None,
        "latents_std": None,
        "use_quant_conv": True,
        "use_post_quant_conv": True,
    },
    "VQModel": {
        **_COMMON,
        "latent_channels": 3,
        "num_vq_embeddings": 256,
        "vq_embed_dim": None,
        "norm_type": "group",
        "lookup_from_codebook": False,
    },
}

# of Python, of JSON; a bool is an int as well
_TYPES = ((bool, bool), (int, int), (float, (int, float)), (str, str), (tuple, list))

_ONLY = {  # fields of which some values alone are here
    "in_channels": (3,),
    "out_channels": (3,),
    "norm_type": ("group",),
    "lookup_from_codebook": (False,),
    "act_fn": ("silu", "swish"),
}


def check_only(s: Mapping[str, Any], known: Mapping[str, tuple], whose: str = "") -> None:
    """Raises InputError where a field has another value than those known here.

    Args:
        known: the values of each field, diffusers' default first.
    """
    for name, values in known.items():
        if s.get(name, values[0]) not in values:
            raise InputError(
                f"{whose}{name} is {s[name]!r}: expected {values[0]!r}, there is no other here"
            )


def read_config(settings: Mapping[str, Any], make: Callable[..., Autoencoder]) -> Description:
    """The autoencoder that a config.json describes; absent fields are diffusers' defaults.

    Args:
        make: its settings, from their fields.

    Raises:
        InputError: it is of a network that no config here can be.
    """
    kind = settings["_class_name"]
    given = {name: value for name, value in settings.items() if not name.startswith("_")}
    unknown = sorted(given.keys() - _DEFAULTS[kind].keys())
    if unknown:
        raise InputError(
            f"{unknown[0]} is {given[unknown[0]]!r}: expected no such field in {kind}; "
            "remove it from config.json if it changes no output"
        )
    for name, value in given.items():
        default = _DEFAULTS[kind][name]
        fits = default is None or isinstance(value, _in_json(default))
        if not fits and name != "sample_size":  # which may be two numbers
            raise InputError(f"{name} is {value!r}: expected such as {default!r}")
    s = {**_DEFAULTS[kind], **given}
    check_only(s, _ONLY)
    z, size = s["latent_channels"], s["sample_size"]
    if s.get("vq_embed_dim") not in (None, z):
        raise InputError(
            f"vq_embed_dim is {s['vq_embed_dim']}: expected {z}, as latent_channels: "
            "codes and latents are of one width here"
        )
    common = {
        **_widths(s["block_out_channels"]),
        "num_res_blocks": s["layers_per_block"],
        "attention_factors": _attention_factors(s),
        "mid_attention": s["mid_block_add_attention"],
        "z_channels": z,
        "norm_groups": s["norm_num_groups"],
    }
    if kind == "VQModel":
        common["codebook_size"] = s["num_vq_embeddings"]
    return Description(
        make(**common),
        size if isinstance(size, int) else size[0],
        *_shift_and_scale(s, z),
        left_out=tuple(name for name in QUANT_CONVS if not s.get(f"use_{name}", True)),
    )


def _in_json(default: Any) -> Any:
    """The types of a field with this default."""
    return next(there for here, there in _TYPES if isinstance(default, here))


def _widths(channels: list[int]) -> dict[str, Any]:
    first, listed = channels[0], ", ".join(map(str, channels))
    if any(width % first for width in channels):
        raise InputError(f"block_out_channels is {listed}: expected multiples of the first")
    return {"channels": first, "channel_mults": tuple(width // first for width in channels)}


def _attention_factors(s: Mapping[str, Any]) -> tuple[int, ...]:
    """The factors at which both ways attend."""
    down, up = s["down_block_types"], s["up_block_types"]
    attends = [kind == "AttnDownEncoderBlock2D" for kind in down]
    if len(down) != len(s["block_out_channels"]) or (list(down), list(up)) != _blocks(attends):
        raise InputError(
            f"down_block_types {', '.join(down)} and up_block_types {', '.join(up)}: expected "
            f"{len(s['block_out_channels'])} [Attn]DownEncoderBlock2D, and "
            "[Attn]UpDecoderBlock2D at the same resolutions"
        )
    return tuple(2**level for level, attending in enumerate(attends) if attending)


def _blocks(attends: list[bool]) -> tuple[list[str], list[str]]:
    return block_types(attends, "Attn", "DownEncoderBlock2D", "UpDecoderBlock2D")


def block_types(attends: list[bool], mark: str, down: str, up: str) -> tuple[list[str], list[str]]:
    """down_block_types and up_block_types, from whether each level attends."""
    return [mark * a + down for a in attends], [mark * a + up for a in reversed(attends)]


def _shift_and_scale(
    s: Mapping[str, Any], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Pipelines take (z - shift_factor) scaling_factor, or (z - mean) scaling_factor / std."""
    mean, std = s.get("latents_mean"), s.get("latents_std")
    factor, shift = s["scaling_factor"], s.get("shift_factor") or 0.0
    check_scales("scaling_factor", factor)
    for name, numbers in (("shift_factor", (shift,)), ("latents_mean", mean or ())):
        if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
            raise InputError(f"{name} has {reprlib.repr(numbers)}: expected finite numbers")
    if mean is None and std is None:
        return (shift,) * channels, (factor,) * channels
    if shift or len(mean or ()) != channels or len(std or ()) != channels:
        raise InputError(
            f"shift_factor is {shift}, latents_mean {mean} and latents_std {std}: expected either "
            f"the first or {channels} numbers in each of the others"
        )
    check_scales("latents_std", *std)
    return tuple(mean), tuple(factor / deviation for deviation in std)


def check_scales(name: str, *scales: float) -> None:
    """Raises InputError for what latents cannot be multiplied with, and divided by."""
    for scale in scales:
        if not (math.isfinite(scale) and scale > 0):
            raise InputError(f"{name} has {scale}: expected numbers above 0")


def kl_config(description: Description) -> dict[str, Any]:
    """The config.json of an AutoencoderKL."""
    shift, scale = map(_shortest, (description.shift, description.scale))
    if len(set(shift)) == len(set(scale)) == 1:
        scaling = {"scaling_factor": scale[0], "shift_factor": shift[0] or None}
    else:
        deviations = [1.0 / factor for factor in scale]
        scaling = {"scaling_factor": 1.0, "latents_mean": shift, "latents_std": deviations}
    flags = {f"use_{name}": name not in description.left_out for name in QUANT_CONVS}
    return {"_class_name": "AutoencoderKL", **_common(description), **scaling, **flags}


def vq_config(description: Description) -> dict[str, Any]:
    """The config.json of a VQModel.

    Raises:
        InputError: its latents have a shift, or scales that differ by channel.
    """
    shift, scale = map(_shortest, (description.shift, description.scale))
    if any(shift) or len(set(scale)) > 1:
        raise InputError(
            f"latents have shift {shift} and scale {scale} by channel: expected no shift and one "
            "scale, since a VQModel of diffusers has one scaling_factor"
        )
    own = {"num_vq_embeddings": description.model.codebook_size, "scaling_factor": scale[0]}
    return {"_class_name": "VQModel", **_common(description), **own}


def _shortest(numbers: tuple[float, ...]) -> list[float]:
    """Each float32 as the shortest decimal that is rounded to it: 0.18215, not 0.182150006."""
    return [float(str(np.float32(number))) for number in numbers]


def _common(description: Description) -> dict[str, Any]:
    """What the two classes have in common.

    Raises:
        InputError: the network is none that diffusers could build.
    """
    model = description.model
    if model.channel_mults[0] != 1:
        raise InputError(
            f"model.channel_mults is {model.channel_mults}: expected 1 first, since the first "
            "convolution of diffusers' autoencoders is as wide as their first level"
        )
    levels = range(len(model.channel_mults))
    down, up = _blocks([2**level in model.attention_factors for level in levels])
    return {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": down,
        "up_block_types": up,
        "block_out_channels": [mult * model.channels for mult in model.channel_mults],
        "layers_per_block": model.num_res_blocks,
        "act_fn": "silu",
        "latent_channels": model.z_channels,
        "norm_num_groups": model.norm_groups,
        "sample_size": description.image_size,
        "mid_block_add_attention": model.mid_attention,
    }
