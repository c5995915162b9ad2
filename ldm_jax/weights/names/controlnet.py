"""The names of a ControlNet's weights: the original's (lllyasviel/ControlNet), and diffusers'."""

import itertools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ldm_jax.weights.names import diffusers_model
from ldm_jax.weights.names.layers import conv, dense
from ldm_jax.weights.names.unet import half
from ldm_jax.weights.table import Shape, Table, under

PREFIX = "control_model."  # in files of the original, which may also hold a whole model
# of the base in such files
ENCODER, DECODER = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "model.diffusion_model.out.2.weight",
)
FIRST = "input_hint_block.0.weight"  # by which a ControlNet of the original is known
Settings = Any  # of a ControlNet, and of a UNet


def original(
    config: Settings,
    network: Settings,
    outputs: Mapping[str, int],
    in_channels: int,
    context: int | None,
) -> Table:
    """Rows of a ControlNet, without the prefix.

    Args:
        network: the UNet whose encoder it copies.
        outputs: site -> channels, in order.
        in_channels, context: see `names.unet.unet`.
    """
    table = under(half(network, in_channels, context), "encoder/")
    for i, (a, b, _) in enumerate(config.convolutions(network.channels)):
        table += conv(f"stem/conv_{i}", f"input_hint_block.{2 * i}", a, b)
    for i, (site, width) in enumerate(outputs.items()):
        there = f"zero_convs.{i}.0" if i < len(outputs) - 1 else "middle_block_out.0"
        table += dense(f"zero/{site}", there, width, width, ones=2)
    return table


def diffusers(table: Table, levels: int) -> Table:
    """The rows of `original` in diffusers' names, for a UNet of `levels` levels."""
    copied = [row for row in table if row.path.startswith("encoder/")]
    bare = [row._replace(path=row.path.removeprefix("encoder/")) for row in copied]
    renamed = under(diffusers_model.unet_names(bare, levels), "encoder/")
    last = max(int(n) for n in re.findall(r"stem/conv_(\d+)", " ".join(row.path for row in table)))

    def key(row) -> str:
        kind = row.keys[0].rpartition(".")[2]
        part, name, _ = row.path.split("/")
        if part == "zero":
            _, _, number = name.partition("_")
            place = f"controlnet_down_blocks.{number}" if number else "controlnet_mid_block"
            return f"{place}.{kind}"
        i = int(name.removeprefix("conv_"))
        place = "conv_in" if i == 0 else "conv_out" if i == last else f"blocks.{i - 1}"
        return f"controlnet_cond_embedding.{place}.{kind}"

    rest = [row for row in table if not row.path.startswith("encoder/")]
    return [*renamed, *(row._replace(keys=(key(row),)) for row in rest)]


class Found(NamedTuple):
    """What the keys and shapes of a file say of a ControlNet."""

    layout: str  # "original" or "diffusers"
    prefix: str
    hint_channels: int
    stem: tuple[int, ...]  # channels of its levels
    context: int | None  # width of the tokens that it attends to


def recognised(shapes: Mapping[str, Shape]) -> Found | None:
    """What a file holds, by its shapes; None: no ControlNet."""
    prefix = prefix_of(shapes)
    if prefix is not None:
        keys = [f"{prefix}input_hint_block.{2 * i}.weight" for i in range(len(shapes))]
        layout = "original"
    elif "controlnet_cond_embedding.conv_in.weight" in shapes:
        at, prefix, layout = "controlnet_cond_embedding", "", "diffusers"
        blocks = (f"{at}.blocks.{i}.weight" for i in range(len(shapes)))
        keys = [f"{at}.conv_in.weight", *blocks]
    else:
        return None
    stem = [shapes[key] for key in itertools.takewhile(shapes.__contains__, keys)]
    stem = stem[:-1] if layout == "original" else stem
    crossed = (shapes[key][1] for key in shapes if key.endswith("attn2.to_k.weight"))
    levels = tuple(out for out, *_ in stem[::2])
    return Found(layout, prefix, stem[0][1], levels, next(crossed, None))


def prefix_of(keys) -> str | None:
    """The prefix of a ControlNet's keys in a file of the original's layout; None: it has none."""
    return next((p for p in (PREFIX, "") if p + FIRST in keys), None)
