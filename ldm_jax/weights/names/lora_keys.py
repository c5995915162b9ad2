"""The keys of files of low-rank adapters: which layer, and which part of its change.

    kohya, LyCORIS    lora_unet_down_blocks_0_..._to_q.lora_down.weight, .alpha, .hada_w1_a
    PEFT              base_model.model.down_blocks.0....to_q.lora_A.weight
    diffusers         unet.down_blocks.0....to_q.lora.down.weight, or .lora_A.weight; of text
                      encoders .lora_linear_layer.down.weight
    diffusers 0.12    unet.down_blocks.0....attn1.processor.to_q_lora.down.weight; first without
                      unet.

The parts have LyCORIS' names here. What is no array, such as alpha in PEFT's files, is in JSON in
the metadata, as diffusers writes it: {"unet.lora_alpha": 4, ...}.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ldm_jax.errors import InputError, shortened
from ldm_jax.weights.names.family import family
from ldm_jax.weights.names.lora import PEFT, TEXT, UNDERSCORED, UNET, Module
from ldm_jax.weights.table import Shape, some

Layout = Literal["diffusers", "peft", "kohya"]
Leaves = dict[str, np.ndarray]  # part of a change -> array
DOWN, UP, MID, MAGNITUDE, ALPHA = "lora_down", "lora_up", "lora_mid", "dora_scale", "alpha"
HADA = tuple(f"hada_{x}" for x in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2"))
LOKR = tuple(f"lokr_{x}" for x in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2"))
ENDS = {  # how a key ends -> the part
    ".lora_down.weight": DOWN, ".lora_up.weight": UP, ".lora_mid.weight": MID,
    ".lora_A.weight": DOWN, ".lora_B.weight": UP,
    ".lora_A.default.weight": DOWN, ".lora_B.default.weight": UP,
    ".lora.down.weight": DOWN, ".lora.up.weight": UP,
    ".lora_linear_layer.down.weight": DOWN, ".lora_linear_layer.up.weight": UP,
    "_lora.down.weight": DOWN, "_lora.up.weight": UP,
    ".alpha": ALPHA, ".dora_scale": MAGNITUDE,
    ".lora_magnitude_vector": MAGNITUDE, ".lora_magnitude_vector.weight": MAGNITUDE,
    **{f".{name}": name for name in (*HADA, *LOKR)},
}  # fmt: skip
END = re.compile(rf"^(.+?)({'|'.join(re.escape(end) for end in ENDS)})$")
METADATA = "lora_adapter_metadata"  # of a file, JSON
MODULE = "ss_network_module"  # in kohya's metadata, who wrote a file
# what layers of attention were called in diffusers 0.12 to 0.21 -> now
OLD = ((r"\.processor\.to_out$", ".to_out.0"), (r"\.processor\.", "."))
OLD += ((r"(self_attn)\.to_out$", r"\1.out_proj"), (r"(self_attn)\.to_([qkv])$", r"\1.\2_proj"))


def split(keys: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Keys of a file -> the name of the layer in it, and the part; others are left out."""
    found = {}
    for key in keys:
        match = END.match(key)
        if match:
            name, end = match.groups()
            for pattern, now in OLD if end.startswith("_lora.") else ():
                name = re.sub(pattern, now, name)
            found[key] = name, ENDS[end]
    return found


def is_of_peft(key: str) -> bool:
    """Whether a magnitude is one a row whatever its shape looks like."""
    return ".lora_magnitude_vector" in key


def layout_of(keys: Mapping[str, Any]) -> Layout:
    """The layout of a file, by its keys."""
    first = next(iter(keys))
    if any(first.startswith(start) for starts in UNDERSCORED.values() for start in starts):
        return "kohya"
    return "peft" if PEFT in first else "diffusers"


def grouped(
    arrays: Mapping[str, np.ndarray], known: Mapping[str, Module], what: str, width: int | None
) -> dict[Module, Leaves]:
    """The arrays of a file by layers and parts.

    Args:
        known: see `lora.by_name`.
        what: the file holds, such as "LoRA".
        width: of the tokens that the base attends to.

    Raises:
        InputError: layers are not those of the base, or keys have no meaning.
    """
    parts = split(arrays)
    _check_family(parts, arrays, what, width)
    names = dict.fromkeys(name for name, _ in parts.values())
    strange = [name for name in names if name not in known]
    strange += [key for key in arrays if key not in parts]
    if strange:
        shown = ", ".join(some(strange, "of its names"))
        raise InputError(
            f"{len(names.keys() & known.keys())} of the {len(names)} layers of this {what} are "
            f"layers of the base, which is {family(width)}: expected all; not {shown}"
        )
    found: dict[Module, Leaves] = {}
    for key, (name, leaf) in parts.items():
        array, of = arrays[key], found.setdefault(known[name], {})
        if leaf in of:
            raise InputError(f"{known[name].name} has {leaf} twice: expected one; again as {key}")
        of[leaf] = array.reshape(-1, 1) if is_of_peft(key) else array
    return found


def _check_family(parts, arrays, what: str, width: int | None) -> None:
    """Raises InputError for a file of another family than the base's; both are named."""
    there = family(width)
    for key, (name, leaf) in parts.items():
        found: Shape = np.shape(arrays[key])
        if name.startswith(("lora_te2_", "text_encoder_2.")):
            other = family(2048)
        elif leaf in (DOWN, "hada_w1_b") and re.search(r"attn2[._]to_k$", name):
            other = family(found[1] if len(found) > 1 else None)
        else:
            continue
        if other != there:
            raise InputError(
                f"this {what} is of {other} (by {shortened(key)}), and the base is {there}: "
                "expected one of the base's family"
            )


def settings(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the metadata of a file say of how its arrays are to be used; see `METADATA`."""
    text = metadata.get(METADATA, "{}")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(f"{METADATA} is {shortened(text)}: expected JSON, settings by their names")
    return found


def key(module: Module, leaf: str, layout: Layout) -> str:
    """The key of a part of a layer's change in a layout."""
    lora = {DOWN: ("down", "A"), UP: ("up", "B")}
    if layout == "kohya":
        start = UNDERSCORED.get(module.component, (f"lora_{module.component}_",))[0]
        weight = ".weight" * (leaf in (DOWN, UP, MID))
        return f"{start}{module.inner.replace('.', '_')}.{leaf}{weight}"
    if layout == "peft":
        end = f"lora_{lora[leaf][1]}.weight" if leaf in lora else leaf
        end = "lora_magnitude_vector" if leaf == MAGNITUDE else end
        return f"{module.component}.{PEFT}{module.inner}.{end}"
    kind = "lora" if module.component == UNET else "lora_linear_layer"
    return f"{module.name}.{kind}.{lora[leaf][0]}.weight"


def is_text(module: Module) -> bool:
    return module.component == TEXT
