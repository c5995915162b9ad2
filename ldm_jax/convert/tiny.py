"""The names of the tiny autoencoder's weights, in either of the forms they are published in.

Original (madebyollin/taesd): `taesd_encoder.pth` and `taesd_decoder.pth`, keys that begin with a
layer's number, the decoder's clamp being its layer 0. diffusers (`AutoencoderTiny`): one file,
`encoder.layers.N` and `decoder.layers.N`, where the clamp has no number.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from ldm_jax.config import TinyAutoencoder
from ldm_jax.convert.layers import conv, dense, norm
from ldm_jax.convert.table import Shape, State, Table, under
from ldm_jax.errors import InputError

Form = Literal["original", "diffusers"]


def _block(config: TinyAutoencoder, level: int, here: str, there: str) -> Table:
    table, channels = [], config.channels
    if config.mid_norm and level == len(config.blocks) - 1:
        pool = f"{there}.pool"
        table += dense(f"{here}/norm_in", f"{pool}.0", channels, 4 * channels, ones=2, bias=False)
        table += norm(f"{here}/norm", f"{pool}.1", 4 * channels)
        table += dense(f"{here}/norm_out", f"{pool}.3", 4 * channels, channels, ones=2, bias=False)
    for n in range(3):  # a ReLU after the first two has a number of its own
        table += conv(f"{here}/conv{n + 1}", f"{there}.conv.{2 * n}", channels, channels)
    return table


def _resampling(here: str, there: str, channels: int) -> Table:
    kernel, _ = conv(here, there, channels, channels)
    return [kernel]  # these have no bias


def _encoder(config: TinyAutoencoder) -> Table:
    numbers = _numbers()
    table = conv("conv_in", next(numbers), 3, config.channels)
    for level, count in enumerate(config.blocks):
        if level > 0:
            table += _resampling(f"down_{level}_downsample", next(numbers), config.channels)
        for n in range(count):
            table += _block(config, level, f"down_{level}_res_{n}", next(numbers))
    return table + conv("conv_out", next(numbers), config.channels, config.z_channels)


def _decoder(config: TinyAutoencoder, first: int) -> Table:
    numbers = _numbers(first)
    table = conv("conv_in", next(numbers), config.z_channels, config.channels)
    next(numbers)  # a ReLU
    for level, count in reversed(list(enumerate(config.blocks))):
        for n in range(count):
            table += _block(config, level, f"up_{level}_res_{n}", next(numbers))
        if level > 0:
            next(numbers)  # nearest neighbours
            table += _resampling(f"up_{level}_upsample", next(numbers), config.channels)
    return table + conv("conv_out", next(numbers), config.channels, 3)


def _numbers(first: int = 0) -> Iterator[str]:
    return map(str, itertools.count(first))


def tiny_autoencoder(config: TinyAutoencoder, form: Form = "original") -> Table:
    """Rows of the first stage that `config` describes, whose latents have scale 1.

    Keys begin with `encoder.` and `decoder.`; the original's two files are joined by `joined`.
    """
    prefix = {"original": "", "diffusers": "layers."}[form]
    first = {"original": 1, "diffusers": 0}[form]  # the clamp is layer 0
    return [
        *under(_encoder(config), "encoder/", f"encoder.{prefix}"),
        *under(_decoder(config, first), "decoder/", f"decoder.{prefix}"),
    ]


def config_of(shapes: Mapping[str, Shape]) -> TinyAutoencoder:
    """The tiny autoencoder whose state dict, in either form, has these shapes.

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
    return TinyAutoencoder(
        channels=chain[0][0],
        blocks=tuple(map(len, levels)),
        z_channels=chain[-1][0],
        mid_norm=any(".pool." in key for key in shapes),
    )


def joined(encoder: State, decoder: State) -> State:
    """One state dict of the original's two files."""
    state = {f"encoder.{key}": w for key, w in encoder.items()}
    return state | {f"decoder.{key}": w for key, w in decoder.items()}


def form_of(keys: Iterable[str]) -> Form:
    """In which form a state dict is."""
    return "diffusers" if any(".layers." in key for key in keys) else "original"
