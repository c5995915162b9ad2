"""What diffusers calls the weights of its AutoencoderKL and VQModel, and its config.json."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.weights.names.autoencoder import Autoencoder, Description
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

_BEFORE_2023 = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def names(original: Table, levels: int) -> Table:
    """The rows of an autoencoder in diffusers' names, from those in the original's."""

    def rename(key: str) -> str:
        # diffusers counts the decoder's levels from the lowest resolution
        key = re.sub(
            r"\.up\.(\d+)\.", lambda found: f".up_blocks.{levels - 1 - int(found[1])}.", key
        )
        for pattern, replacement in _RULES:
            key = re.sub(pattern, replacement, key)
        return key

    def renamed(row: Row) -> Row:
        keys = tuple(map(rename, row.keys))
        linear = ".attentions." in keys[0]  # there, what the original wrote as 1x1 convolutions
        return row._replace(keys=keys, shape=row.shape[:2] if linear else row.shape)

    return [renamed(row) for row in original]


def present_name(key: str) -> str:
    """What diffusers calls today the weight that it once saved under `key`."""
    old = "|".join(_BEFORE_2023)
    return re.sub(
        rf"(\.attentions\.\d+)\.({old})\.",
        lambda found: f"{found[1]}.{_BEFORE_2023[found[2]]}.",
        key,
    )


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

_ONLY = {  # fields of which one value alone is here
    "in_channels": 3,
    "out_channels": 3,
    "norm_type": "group",
    "lookup_from_codebook": False,
}


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
    for name, only in _ONLY.items():
        if s.get(name, only) != only:
            raise InputError(f"{name} is {s[name]!r}: expected {only!r}, there is no other here")
    if s["act_fn"] not in ("silu", "swish"):
        raise InputError(f"act_fn is {s['act_fn']!r}: expected 'silu', there is no other here")
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
    flags = {"quant_conv": "use_quant_conv", "post_quant_conv": "use_post_quant_conv"}
    return Description(
        make(**common),
        size if isinstance(size, int) else size[0],
        *_shift_and_scale(s, z),
        left_out=tuple(name for name, flag in flags.items() if not s.get(flag, True)),
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
    kinds = _block_types(attends)
    if len(down) != len(s["block_out_channels"]) or (list(down), list(up)) != kinds:
        raise InputError(
            f"down_block_types {', '.join(down)} and up_block_types {', '.join(up)}: expected "
            f"{len(s['block_out_channels'])} [Attn]DownEncoderBlock2D, and "
            "[Attn]UpDecoderBlock2D at the same resolutions"
        )
    return tuple(2**level for level, attending in enumerate(attends) if attending)


def _block_types(attends: list[bool]) -> tuple[list[str], list[str]]:
    """down_block_types and up_block_types, from whether each level attends."""
    down = ["AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in attends]
    up = ["AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in reversed(attends)]
    return down, up


def _shift_and_scale(
    s: Mapping[str, Any], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Pipelines take (z - shift_factor) scaling_factor, or (z - mean) scaling_factor / std."""
    mean, std = s.get("latents_mean"), s.get("latents_std")
    factor, shift = s["scaling_factor"], s.get("shift_factor") or 0.0
    if mean is None and std is None:
        return (shift,) * channels, (factor,) * channels
    if shift or len(mean or ()) != channels or len(std or ()) != channels:
        raise InputError(
            f"shift_factor is {shift}, latents_mean {mean} and latents_std {std}: expected either "
            f"the first or {channels} numbers in each of the others"
        )
    return tuple(mean), tuple(factor / deviation for deviation in std)


def kl_config(description: Description) -> dict[str, Any]:
    """The config.json of an AutoencoderKL."""
    shift, scale = map(_shortest, (description.shift, description.scale))
    if len(set(shift)) == len(set(scale)) == 1:
        scaling = {"scaling_factor": scale[0], "shift_factor": shift[0] or None}
    else:
        deviations = [1.0 / factor for factor in scale]
        scaling = {"scaling_factor": 1.0, "latents_mean": shift, "latents_std": deviations}
    return {
        "_class_name": "AutoencoderKL",
        **_common(description),
        **scaling,
        "use_quant_conv": "quant_conv" not in description.left_out,
        "use_post_quant_conv": "post_quant_conv" not in description.left_out,
    }


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
    return {
        "_class_name": "VQModel",
        **_common(description),
        "num_vq_embeddings": description.model.codebook_size,
        "scaling_factor": scale[0],
    }


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
    down, up = _block_types(
        [2**level in model.attention_factors for level in range(len(model.channel_mults))]
    )
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
