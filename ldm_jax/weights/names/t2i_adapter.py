"""The names of a T2I-Adapter's weights: the original's (TencentARC/T2I-Adapter), and diffusers'."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ldm_jax.weights.names.layers import conv
from ldm_jax.weights.table import Shape, Table

PREFIX = "adapter."  # of all keys in diffusers, and in some files of the original
Layers = Iterable[Any]  # with path, into, out and size
THERE = {"in": "in_conv", "out": "out_conv", "conv1": "block1", "conv2": "block2"}


def original(layers: Layers, full: bool, blocks: int) -> Table:
    """Rows of an adapter, without the prefix.

    Args:
        blocks: residual blocks of a level; the full adapter has one number for level and block.
    """

    def place(level: int, block: int | None) -> str:
        if full:
            return f"body.{level * blocks + (block or 0)}"
        return f"body.{level}" if block is None else f"body.{level}.body.{block}"

    return _table(layers, place)


def diffusers(layers: Layers) -> Table:
    """The same in diffusers' names, with the prefix."""

    def place(level: int, block: int | None) -> str:
        return f"{PREFIX}body.{level}" + ("" if block is None else f".resnets.{block}")

    return _table(layers, place, PREFIX)


def _table(layers: Layers, place: Callable[[int, int | None], str], prefix: str = "") -> Table:
    """place: (level, block or None) -> what holds the layer there."""
    table: Table = []
    for layer in layers:
        key = f"{prefix}{layer.path}"
        if found := re.fullmatch(r"level_(\d+)/(?:block_(\d+)/)?(\w+)", layer.path):
            level, block, name = found.groups()
            key = f"{place(int(level), int(block) if block else None)}.{THERE[name]}"
        table += conv(layer.path, key, layer.into, layer.out, layer.size)
    return table


class Found(NamedTuple):
    """An adapter, by the keys and shapes in a file."""

    layout: str  # "original" or "diffusers"
    size: str  # "full" or "light"
    prefix: str  # of its keys
    into: int  # channels of the first convolution's input
    blocks: int  # of a level
    widths: list[int]  # channels of its features


def recognised(shapes: Mapping[str, Shape]) -> Found | None:
    """The adapter in a file with these shapes by key; None: it holds something else."""
    prefix = PREFIX if any(key.startswith(f"{PREFIX}body.") for key in shapes) else ""
    bare = {key.removeprefix(prefix): shape for key, shape in shapes.items()}
    full = "conv_in.weight" in bare

    def numbers(pattern: str) -> list[list[int]]:
        matches = (re.fullmatch(pattern, key) for key in bare)
        return sorted([int(x) for x in m.groups()] for m in matches if m)

    layout, inside = "diffusers", "resnets"
    each = numbers(r"body\.(\d+)\.resnets\.(\d+)\.block2\.weight")
    if not each:
        layout, inside = "original", "body"
        each = numbers(r"body\.(\d+)\.body\.(\d+)\.block2\.weight")
    if each and not full:
        keys = [f"body.{level}.out_conv.weight" for level in sorted({level for level, _ in each})]
    elif each:
        keys = [f"body.{level}.{inside}.{j}.block2.weight" for level, j in each if j == 0]
    else:
        bodies = len(numbers(r"body\.(\d+)\.block2\.weight"))
        changes = [i for (i,) in numbers(r"body\.(\d+)\.in_conv\.weight")]
        blocks = math.gcd(bodies, *changes) or 1  # a level's first alone may change the width
        each = [[i // blocks, i % blocks] for i in range(bodies)]
        keys = [f"body.{i}.block2.weight" for i in range(0, bodies, blocks)]
    first = "conv_in.weight" if full else "body.0.in_conv.weight"
    if not keys or not bare.keys() >= {first, *keys} or any(len(bare[key]) < 2 for key in keys):
        return None
    blocks, widths = 1 + max(j for _, j in each), [bare[key][0] for key in keys]
    return Found(layout, "full" if full else "light", prefix, bare[first][1], blocks, widths)
