"""Files of LoRAs as cloneofsimo/lora writes them, whose keys are numbers: unet:0:up, unet:0:down.

The layers are counted as PyTorch finds them in diffusers' networks: of a UNet's transformer blocks,
down, up and then the middle, the linear layers of each attention and the GEGLU; of a text encoder,
those of each attention. The GEGLU comes before the second attention in diffusers up to 0.17, and
behind it since: shapes say which.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.weights.names import lora_keys
from ldm_jax.weights.names.lora import TEXT, UNET, Module

PLACES = ("down", "up", "mid")
PARTS = ("to_q", "to_k", "to_v", "to_out.0")
OF_TEXT = ("k_proj", "v_proj", "q_proj", "out_proj")
GEGLU = "ff.net.0.proj"
BLOCK = re.compile(
    r"(down|up|mid)_blocks?(?:\.(\d+))?\.attentions\.(\d+)\.transformer_blocks\.(\d+)\.(.+)$"
)
LAYER = re.compile(r"(?:text_model\.)?encoder\.layers\.(\d+)\.self_attn\.(.+)$")
CLASSES = {UNET: {"CrossAttention", "Attention", "GEGLU"}, TEXT: {"CLIPAttention"}}


def is_ordered(keys: Iterable[str]) -> bool:
    """Whether a file has such keys."""
    return any(f"{component}:0:up" in keys for component in CLASSES)


def named(
    arrays: Mapping[str, Any], metadata: Mapping[str, str], every: list[Module], what: str
) -> dict[str, np.ndarray]:
    """The arrays by keys of kohya's layout, without alpha, which is the rank.

    Args:
        every: the layers of the base.
        what: the file holds, such as "LoRA".

    Raises:
        InputError: other layers than this order has.
    """
    found: dict[str, np.ndarray] = {}
    for component in CLASSES:
        if is_ordered({key for key in arrays if key.startswith(f"{component}:")}):
            known = [module for module in every if module.component == component]
            geglu = _has_geglu(component, metadata, what)
            for module, up, down in _matched(component, arrays, known, geglu, what):
                found[lora_keys.key(module, lora_keys.UP, "kohya")] = up
                found[lora_keys.key(module, lora_keys.DOWN, "kohya")] = down
    if others := [key for key in arrays if ":" not in key]:
        print(f"warning: this {what} has embeddings, too, which are not read: {', '.join(others)}")
    return found


def _has_geglu(component: str, metadata: Mapping[str, str], what: str) -> bool:
    """Whether the file says that it has these layers, too."""
    try:
        classes = set(json.loads(metadata.get(component, "")))
    except (ValueError, TypeError):
        classes = set()
    if not classes or classes - CLASSES[component]:
        raise InputError(
            f"this {what} is of layers by number, and its metadata say of {component} "
            f"{metadata.get(component)}: expected some of {', '.join(sorted(CLASSES[component]))}"
        )
    return "GEGLU" in classes


def _matched(
    component: str, arrays: Mapping, known: list[Module], geglu: bool, what: str
) -> list[tuple[Module, np.ndarray, np.ndarray]]:
    """The layers in the order whose shapes are those of the file, with their arrays."""
    count = sum(key.startswith(f"{component}:") for key in arrays) // 2
    pairs = [
        tuple(np.asarray(arrays.get(f"{component}:{i}:{end}", 0)) for end in ("up", "down"))
        for i in range(count)
    ]
    shapes = [(*up.shape[:1], *down.shape[1:2]) for up, down in pairs]
    for early in (True, False):
        modules = ordered(component, known, geglu, early)
        if [module.shape[:2] for module in modules] == shapes:
            return [(module, *pair) for module, pair in zip(modules, pairs, strict=True)]
    raise InputError(
        f"this {what} has {count} layers of {component} by number: expected the "
        f"{len(modules)} of the base, with their shapes"
    )


def ordered(component: str, known: list[Module], geglu: bool, early: bool) -> list[Module]:
    """The layers that such a file counts, in its order.

    Args:
        early: whether the GEGLU comes before the second attention.
    """
    parts = [f"attn1.{part}" for part in PARTS]
    second = [f"attn2.{part}" for part in PARTS]
    middle = [GEGLU] * geglu
    parts += [*middle, *second] if early else [*second, *middle]
    places: dict[tuple[int, ...], Module] = {}
    for module in known:
        if component == TEXT and (match := LAYER.match(module.inner)):
            if match[2] in OF_TEXT:
                places[int(match[1]), OF_TEXT.index(match[2])] = module
        elif (match := BLOCK.match(module.inner)) and match[5] in parts:
            place, *numbers = match.groups()[:4]
            numbers = [int(n or 0) for n in numbers]
            places[PLACES.index(place), *numbers, parts.index(match[5])] = module
    return [places[place] for place in sorted(places)]
