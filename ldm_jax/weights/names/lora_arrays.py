"""The arrays of low-rank adapters, from the layout of files and back.

A change of a kernel [..., I, O] is made of factors. A factor is "whole" [..., I, O], or "down"
[..., I, r] and "up" [r, O], or, of a convolution, "down" [I, r], "mid" [k, k, r, r] and "up"
[r, O]. Files have [O, I, ...]:

    LoRA    lora_down [r, I, k, k], lora_up [O, r, 1, 1]; with lora_mid [r, r, k, k] a lora_down
            of [r, I, 1, 1]
    LoHa    hada_w1_b [r, I k k], hada_w1_a [O, r]; with hada_t1 [r, r, k, k] w1_b [r, I] and
            w1_a [r, O]; the second factor the same
    LoKr    lokr_w1 [a, c], or lokr_w1_a [a, r] and lokr_w1_b [r, c]; lokr_w2 [b, d, k, k], or
            lokr_w2_a [b, r] and lokr_w2_b [r, d k k], or as LoHa's with lokr_t2; O = a b, I = c d
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.weights.names.lora import Module
from ldm_jax.weights.names.lora_keys import DOWN, MAGNITUDE, MID, UP, Leaves
from ldm_jax.weights.table import Shape, float32

Factor = dict[str, np.ndarray]


class Keys(NamedTuple):
    """The parts of a factor in files; turned: of a Tucker form, "up" is [r, O]."""

    down: str
    up: str
    mid: str = ""
    whole: str = ""
    turned: bool = True


LORA = Keys(DOWN, UP, MID, turned=False)
FIRST = Keys("hada_w1_b", "hada_w1_a", "hada_t1")
SECOND = Keys("hada_w2_b", "hada_w2_a", "hada_t2")
LEFT = Keys("lokr_w1_b", "lokr_w1_a", whole="lokr_w1")
RIGHT = Keys("lokr_w2_b", "lokr_w2_a", "lokr_t2", "lokr_w2")


def factor(keys: Keys, leaves: Leaves, module: Module, shape: Shape) -> Factor:
    """A factor of [O, I, ...] = `shape` of a layer's change.

    Raises:
        InputError: a part is missing, or of another shape or rank.
    """
    o, i, *spatial = shape
    if keys.whole in leaves:
        return {"whole": _whole(_sized(leaves, keys.whole, module, (o, i, *spatial)))}
    if keys.down not in leaves or keys.up not in leaves:
        absent = keys.up if keys.down in leaves else keys.down
        raise InputError(f"{module.name} has {', '.join(leaves)}: expected {absent}, too")
    down, up, mid = leaves[keys.down], leaves[keys.up], leaves.get(keys.mid)
    rank = len(down)
    turned = mid is not None and keys.turned
    other = np.shape(up)[0 if turned else 1] if up.ndim > 1 else None
    if other != rank:
        raise InputError(
            f"{module.name} has {keys.down} {down.shape} of rank {rank} and {keys.up} {up.shape} "
            f"of rank {other}: expected one rank"
        )
    columns = _sized(leaves, keys.up, module, (rank, o) if turned else (o, rank))
    found = {"up": columns if turned else columns.T}
    if mid is None:
        found["down"] = _whole(_padded(leaves, keys.down, module, (rank, i, *spatial)))
        return found
    found["down"] = _sized(leaves, keys.down, module, (rank, i)).T
    return found | {"mid": _whole(_sized(leaves, keys.mid, module, (rank, rank, *spatial)))}


def _whole(w: np.ndarray) -> np.ndarray:
    """[O, I] or [O, I, k, k] as [I, O] or [k, k, I, O]; its own inverse for two axes."""
    return w.T if w.ndim == 2 else np.transpose(w, (2, 3, 1, 0))


def _sized(leaves: Leaves, leaf: str, module: Module, shape: Shape) -> np.ndarray:
    w = float32(leaves[leaf], f"{module.name}.{leaf}")
    if w.size != math.prod(shape) or w.shape[0] != shape[0]:
        raise InputError(
            f"{module.name} has {leaf} of shape {w.shape}: expected {shape}, for a weight of "
            f"{module.shape}"
        )
    return w.reshape(shape)


def _padded(leaves: Leaves, leaf: str, module: Module, shape: Shape) -> np.ndarray:
    """The same for a first convolution of which a file knows fewer input channels: those of the
    latents, before those of inpainting."""
    w = leaves[leaf]
    if module.path == "denoiser/conv_in/kernel" and w.ndim == 4 and w.shape[1] < shape[1]:
        more = [(0, 0)] * w.ndim
        more[1] = (0, shape[1] - w.shape[1])
        leaves = {leaf: np.pad(w, more)}
    return _sized(leaves, leaf, module, shape)


def leaves_of(keys: Keys, found: Mapping[str, Any], shape: Shape, flat: bool = True) -> Leaves:
    """The inverse of `factor`.

    Args:
        shape: of the factor, [O, I, ...].
        flat: whether "down" is [r, I k k], as LoHa and LoKr have it.
    """
    o, i, *spatial = shape
    parts = {name: np.asarray(x) for name, x in found.items()}
    if "whole" in parts:
        return {keys.whole: _back(parts["whole"])}
    rank, ones = parts["up"].shape[0], [1] * len(spatial) * (not flat)
    if "mid" in parts:
        up = parts["up"] if keys.turned else parts["up"].T
        down = parts["down"].T.reshape(rank, i, *ones)
        up = up.reshape(*up.shape, *ones)
        return {keys.mid: _back(parts["mid"]), keys.down: down, keys.up: up}
    up, down = parts["up"].T.reshape(o, rank, *ones), _back(parts["down"])
    return {
        keys.up: up,
        keys.down: down.reshape(rank, -1) if flat else down.reshape(rank, i, *spatial),
    }


def _back(w: np.ndarray) -> np.ndarray:
    return w.T if w.ndim == 2 else np.transpose(w, (3, 2, 0, 1))


def magnitude(leaves: Leaves, module: Module) -> Factor:
    """DoRA's magnitudes: [O] of rows, [I, 1] of columns; which of them, a file's shape shows."""
    if MAGNITUDE not in leaves:
        return {}
    m = float32(leaves[MAGNITUDE], f"{module.name}.{MAGNITUDE}")
    (o, i), shape = module.shape[:2], m.shape
    if m.size == o and shape[0] == o:
        return {"magnitude": m.reshape(o)}
    if m.size == i and len(shape) > 1 and shape[1] == i:
        return {"magnitude": m.reshape(i, 1)}
    raise InputError(
        f"{module.name} has {MAGNITUDE} of shape {shape}: expected [{o}, 1] or [1, {i}], one a row "
        f"or a column of its weight {module.shape}"
    )


def magnitude_leaves(parts: Mapping[str, Any], module: Module, peft: bool) -> Leaves:
    """The inverse of `magnitude`; PEFT has rows as [O], of convolutions as [1, O, 1, 1]."""
    if "magnitude" not in parts:
        return {}
    m, ones = np.asarray(parts["magnitude"]), [1] * (len(module.shape) - 2)
    if peft:
        return {MAGNITUDE: m.reshape(1, -1, *ones) if ones else m}
    return {MAGNITUDE: m.reshape((-1, 1, *ones) if m.ndim == 1 else (1, -1, *ones))}
