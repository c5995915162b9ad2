"""The names of the tiny autoencoder's weights, in either of the forms they are published in.

Original (madebyollin/taesd): `taesd_encoder.pth` and `taesd_decoder.pth`, keys that begin with a
layer's number, the decoder's clamp being its layer 0. diffusers (`AutoencoderTiny`): one file,
`encoder.layers.N` and `decoder.layers.N`, where the clamp has no number.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from ldm_jax.errors import InputError
from ldm_jax.weights.names.autoencoder import Autoencoder, Description
from ldm_jax.weights.names.diffusers import check_only, check_scales
from ldm_jax.weights.names.layers import conv, dense, norm
from ldm_jax.weights.table import Shape, State, Table, under

Form = Literal["original", "diffusers"]


def _block(config: Autoencoder, level: int, here: str, there: str) -> Table:
    table, channels = [], config.channels
    if config.mid_norm and level == len(config.blocks) - 1:
        pool = f"{there}.pool"
        table += dense(f"{here}/norm_in", f"{pool}.0", channels, 4 * channels, ones=2, bias=False)
        table += norm(f"{here}/norm", f"{pool}.1", 4 * channels)
        table += dense(f"{here}/norm_out", f"{pool}.3", 4 * channels, channels, ones=2, bias=False)
    for n in range(3):  # a ReLU after the first two has a number of its own
        table += conv(f"{here}/conv{n + 1}", f"{there}.conv.{2 * n}", channels, channels)
    return table


def _bare(here: str, there: str, channels: int) -> Table:
    """A convolution without a bias."""
    return conv(here, there, channels, channels)[:1]


def _encoder(config: Autoencoder) -> Table:
    numbers = map(str, itertools.count())
    table = conv("conv_in", next(numbers), 3, config.channels)
    for level, count in enumerate(config.blocks):
        if level > 0:
            table += _bare(f"down_{level}_downsample", next(numbers), config.channels)
        for n in range(count):
            table += _block(config, level, f"down_{level}_res_{n}", next(numbers))
    return table + conv("conv_out", next(numbers), config.channels, config.z_channels)


def _decoder(config: Autoencoder, first: int) -> Table:
    numbers = map(str, itertools.count(first))
    table = conv("conv_in", next(numbers), config.z_channels, config.channels)
    next(numbers)  # a ReLU
    for level, count in reversed(list(enumerate(config.blocks))):
        for n in range(count):
            table += _block(config, level, f"up_{level}_res_{n}", next(numbers))
        if level > 0:
            next(numbers)  # nearest neighbours
            table += _bare(f"up_{level}_upsample", next(numbers), config.channels)
    return table + conv("conv_out", next(numbers), config.channels, 3)


def tiny_autoencoder(config: Autoencoder, form: Form = "original") -> Table:
    """Rows of the first stage that `config` describes, whose latents have scale 1.

    Keys begin with `encoder.` and `decoder.`; the original's two files are joined by `joined`.
    """
    prefix, first = {"original": ("", 1), "diffusers": ("layers.", 0)}[form]  # 0 is the clamp
    return [
        *under(_encoder(config), "encoder/", f"encoder.{prefix}"),
        *under(_decoder(config, first), "decoder/", f"decoder.{prefix}"),
    ]


def fields_of(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """The settings of the tiny autoencoder whose state dict, in either form, has these shapes.

    Raises:
        InputError: they are of none; or of one with another design, such as taesana.
    """
    layers = {}  # number -> shape of a convolution, or None for a block
    for key, shape in shapes.items():
        if found := re.fullmatch(r"encoder\.(?:layers\.)?(\d+)\.(conv\.0\.)?weight", key):
            layers[int(found[1])] = None if found[2] else shape
    chain = [layers[n] for n in sorted(layers)]
    levels = "".join("-" if layer is None else "|" for layer in chain[1:-1]).split("|")
    if not (all(levels) and chain[0] and chain[-1]):
        raise InputError(
            "these weights are of no tiny autoencoder: expected encoder.0.weight (or "
            "encoder.layers.0.weight), blocks encoder.N.conv.0.weight and a convolution after them"
        )
    return {
        "channels": chain[0][0],
        "blocks": tuple(map(len, levels)),
        "z_channels": chain[-1][0],
        "mid_norm": any(".pool." in key for key in shapes),
    }


# Files


def is_whole(keys: Iterable[str]) -> bool:
    """Whether these are the keys of a tiny autoencoder, in either form."""
    return any(re.match(r"decoder\.(layers\.)?\d+\.", key) for key in keys)


def is_half(keys: Iterable[str]) -> bool:
    """Whether these are the keys of one of the original's two files."""
    return "0.weight" in keys or "1.weight" in keys


def halves(path: Path) -> tuple[Path, Path]:
    """The files with the encoder and the decoder, of which `path` is one.

    Raises:
        InputError: the file's name does not tell which it is, or the other one is missing.
    """
    found = re.fullmatch(r"(.*)(encoder|decoder)(.*)", path.name)
    if not found:
        raise InputError(
            "these weights are of one half of a tiny autoencoder: expected a name such as "
            "taesd_encoder.pth, beside taesd_decoder.pth"
        )
    files = tuple(path.with_name(found[1] + part + found[3]) for part in ("encoder", "decoder"))
    for file in files:
        if not file.is_file():
            raise InputError(
                f"these weights are of one half of a tiny autoencoder: expected {file.name} beside"
            )
    return files


def joined(encoder: State, decoder: State) -> State:
    """One state dict of the original's two files."""
    state = {f"encoder.{key}": w for key, w in encoder.items()}
    return state | {f"decoder.{key}": w for key, w in decoder.items()}


def form_of(keys: Iterable[str]) -> Form:
    """In which form a state dict is."""
    return "diffusers" if any(".layers." in key for key in keys) else "original"


# config.json of diffusers

CLASS = "AutoencoderTiny"
IMAGE_SIZE = 256  # pixels a side, of which it says nothing

_DEFAULTS = {
    "in_channels": 3,
    "out_channels": 3,
    "encoder_block_out_channels": (64, 64, 64, 64),
    "decoder_block_out_channels": (64, 64, 64, 64),
    "act_fn": "relu",
    "upsample_fn": "nearest",
    "latent_channels": 4,
    "upsampling_scaling_factor": 2,
    "num_encoder_blocks": (1, 3, 3, 3),
    "num_decoder_blocks": (3, 3, 3, 1),
    "latent_magnitude": 3,  # of latents as 8-bit images, which there are none of here
    "latent_shift": 0.5,
    "force_upcast": False,
    "scaling_factor": 1.0,
    "shift_factor": 0.0,
}
_FIXED = ("in_channels", "out_channels", "act_fn", "upsample_fn", "upsampling_scaling_factor")
_ONLY = {name: (_DEFAULTS[name],) for name in _FIXED}


def read_config(settings: Mapping[str, Any], make: Callable[..., Autoencoder]) -> Description:
    """The tiny autoencoder that a config.json describes.

    Args:
        make: its settings, from their fields.

    Raises:
        InputError: a network that no config here can be.
    """
    s = _DEFAULTS | {k: v for k, v in settings.items() if not k.startswith("_")}
    check_only(s, _ONLY)
    blocks = s["num_encoder_blocks"]
    if list(s["num_decoder_blocks"]) != list(reversed(blocks)):
        raise InputError(
            f"num_decoder_blocks is {s['num_decoder_blocks']} and num_encoder_blocks {blocks}: "
            "expected the same, backwards"
        )
    widths = [*s["encoder_block_out_channels"], *s["decoder_block_out_channels"]]
    if len(set(widths)) != 1:
        raise InputError(f"block_out_channels are {widths}: expected one number at all levels")
    z = s["latent_channels"]
    model = make(channels=widths[0], blocks=tuple(blocks), z_channels=z)
    shift, scale = s["shift_factor"] or 0.0, s["scaling_factor"]
    check_scales("scaling_factor", scale)
    return Description(model, IMAGE_SIZE, (shift,) * z, (scale,) * z)


def diffusers_config(description: Description) -> dict[str, Any]:
    """The config.json of an AutoencoderTiny.

    Raises:
        InputError: diffusers has no such network, or no such scale.
    """
    model, shift, scale = description.model, *map(set, (description.shift, description.scale))
    if model.mid_norm:
        raise InputError("model.mid_norm is True: expected False, diffusers has no such network")
    if len(shift) > 1 or len(scale) > 1:
        raise InputError(
            "latents have shifts and scales by channel: expected one of each, since an "
            "AutoencoderTiny of diffusers has one scaling_factor"
        )
    widths = [model.channels] * len(model.blocks)
    return {
        "_class_name": CLASS,
        **_DEFAULTS,
        "encoder_block_out_channels": widths,
        "decoder_block_out_channels": widths,
        "num_encoder_blocks": list(model.blocks),
        "num_decoder_blocks": list(reversed(model.blocks)),
        "latent_channels": model.z_channels,
        "shift_factor": shift.pop(),
        "scaling_factor": scale.pop(),
    }
