"""Low-rank adapters from files of others and to them, whatever their kind and layout."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ldm_jax.errors import InputError
from ldm_jax.weights.names import lora_arrays, lora_ordered
from ldm_jax.weights.names import lora_keys as keys
from ldm_jax.weights.names.lora import Module, by_name, ends, first_match, modules
from ldm_jax.weights.table import nested

DTYPES = ("float32", "float16", "bfloat16")
OTHERS = ("image_proj.", "ip_adapter.")  # what keys of other adapters begin with


class Layer(NamedTuple):
    """A layer that is adapted."""

    parts: Mapping[str, Any]
    rank: int
    alpha: float | None  # None: the rank
    rslora: bool


def read(kind: Any, arrays: Mapping, metadata: Mapping[str, str], base: Any) -> Any:
    """What `AdapterSettings.of_file` returns, for a class of `low_rank.LowRank`."""
    what = kind.kind.partition(" ")[2]
    if keys.UP in kind.leaves and lora_ordered.is_ordered(arrays):
        arrays = lora_ordered.named(arrays, metadata, modules(base.experiment), what)
    held = {leaf for _, leaf in keys.split(arrays).values()}
    if not held & set(kind.leaves) or any(key.startswith(OTHERS) for key in arrays):
        return None
    every = modules(base.experiment)
    strange = held - {*kind.leaves, keys.ALPHA, keys.MAGNITUDE}
    if strange:
        raise InputError(
            f"this {what} has {', '.join(sorted(strange))}, too: expected parts of one kind"
        )
    width = base.experiment.condition_names().tokens
    found = keys.grouped(arrays, by_name(every), what, width)
    said = keys.settings(metadata)
    layers = {module: _layer(kind, leaves, module, said) for module, leaves in found.items()}
    layout = keys.layout_of(arrays)
    types = Counter(str(x.dtype) for x in arrays.values() if np.ndim(x))
    (dtype, _), *_ = types.most_common(1)
    fields = _settings(layers, every) | {
        "layout": layout,
        "dtype": dtype if dtype in DTYPES else "float32",
        "dora_scaled": "delta" if layout == "peft" and held & {keys.MAGNITUDE} else "change",
        **kind.described({module: layer.parts for module, layer in layers.items()}, layout),
    }
    return kind(**fields), nested(
        {
            "/".join(x for x in (module.path, module.part, name) if x): part
            for module, layer in layers.items()
            for name, part in layer.parts.items()
        }
    )


def _layer(kind: Any, leaves: keys.Leaves, module: Module, said: Mapping[str, Any]) -> Layer:
    """A layer of a file whose metadata are `said`."""

    def of(name: str, otherwise: Any = None) -> Any:
        return said.get(f"{module.component}.{name}", otherwise)

    parts = kind.parts(leaves, module) | lora_arrays.magnitude(leaves, module)
    alpha = of("lora_alpha", of("alpha"))
    alpha = first_match(of("alpha_pattern", {}).items(), module.inner, alpha)
    if keys.ALPHA in leaves:
        alpha = float(np.asarray(leaves[keys.ALPHA], np.float32).reshape(-1)[0])
    if alpha is not None and not (isinstance(alpha, int | float) and 0 < alpha < math.inf):
        raise InputError(f"{module.name} has alpha {alpha}: expected a number above 0")
    rank = kind.rank_in(parts)
    if rank is None and of("r"):
        rank = first_match(of("rank_pattern", {}).items(), module.inner, of("r"))
    elif rank is None:  # of factors that are whole the scale is 1, whatever alpha is
        rank = int(alpha) if alpha and alpha == int(alpha) else 1
        alpha = float(rank)
    return Layer(parts, rank, alpha, bool(of("use_rslora", False)))


def _settings(layers: Mapping[Module, Layer], every: list[Module]) -> dict[str, Any]:
    """The fields that say which layers are adapted, of which ranks and alphas."""
    names = {module.name: module for module in layers}
    rslora = all(layer.rslora for layer in layers.values())
    alphas = {name: layers[module].alpha for name, module in names.items()}
    if any(alpha is not None for alpha in alphas.values()):
        alphas = {n: _alpha(layers[module], rslora) for n, module in names.items()}
    chosen = ends({module.name: module.name in names for module in every})[True]
    rank, ranks = patterns({n: layers[module].rank for n, module in names.items()})
    alpha, others = patterns(alphas)
    dora = [
        np.ndim(layer.parts["magnitude"]) for layer in layers.values() if "magnitude" in layer.parts
    ]
    return {
        "target_modules": tuple(chosen),
        "rank": rank,
        "rank_pattern": ranks,
        "alpha": alpha,
        "alpha_pattern": others,
        "rslora": rslora,
        "dora": ("rows" if dora[0] == 1 else "columns") if dora else None,
        "tucker": any("mid" in path for layer in layers.values() for path in _names(layer.parts)),
    }


def _names(parts: Mapping[str, Any]):
    for name, part in parts.items():
        yield name
        yield from _names(part) if isinstance(part, Mapping) else ()


def _alpha(layer: Layer, rslora: bool) -> float:
    """Alpha of a layer, where others say one; folded where not all are scaled by the root."""
    alpha = float(layer.rank if layer.alpha is None else layer.alpha)
    return alpha * math.sqrt(layer.rank) if layer.rslora and not rslora else alpha


def patterns(values: Mapping[str, Any]) -> tuple[Any, tuple[tuple[str, Any], ...]]:
    """The most frequent value, and patterns of names for each other one."""
    (usual, _), *_ = Counter(values.values()).most_common(1)
    found = ends(values)
    other = [(end, value) for value, each in found.items() if value != usual for end in each]
    return usual, tuple((re.escape(end), value) for end, value in other)


# To files


def write(config: Any, own: Any, base: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What `AdapterSettings.to_file` returns, in the layout of `config.layout`."""
    every = modules(base.experiment)
    table = {(module.path, module.part): module for module in every}
    layers: dict[Module, Mapping[str, Any]] = {}
    for path, each in config.nodes(own):
        for part, parts in each.items():
            if ("/".join(path), part) not in table:
                raise InputError(
                    f"{'/'.join(path)} has no published name: expected an adapter of layers that "
                    "files name"
                )
            layers[table["/".join(path), part]] = parts
    leaves = {m: config.to_leaves(parts, m) for m, parts in layers.items()}
    peft = config.layout == "peft"
    leaves = {m: x | lora_arrays.magnitude_leaves(layers[m], m, peft) for m, x in leaves.items()}
    _check(config, leaves)
    ranks = {m: config.rank_in(parts) or config.rank_of(m.name) for m, parts in layers.items()}
    scales = {m: config.factor_of(m.name, parts) for m, parts in layers.items()}
    if config.layout == "kohya":
        for module, rank in ranks.items():
            if config.rank_in(layers[module]) is None:  # such are read without a scale
                leaves[module]["lokr_w1"] = leaves[module]["lokr_w1"] * np.float32(scales[module])
                scales[module] = 1.0
            leaves[module][keys.ALPHA] = np.asarray(np.float32(scales[module] * rank))
        alphas = [float(leaves[module][keys.ALPHA]) for module in ranks]
        metadata = _kohya(config, list(ranks.values()), alphas, base)
    else:
        said = _said(config, ranks, scales, leaves)
        said |= _targets(ranks, every)
        metadata = {keys.METADATA: json.dumps(said, sort_keys=True)}
    arrays = {
        keys.key(module, leaf, config.layout): _typed(x, config.dtype)
        for module, each in leaves.items()
        for leaf, x in each.items()
    }
    return arrays, {"format": "pt", **metadata}


def _typed(x: np.ndarray, name: str) -> np.ndarray:
    """An array of a type; an alpha that the type has no number for remains in float32."""
    dtype = jnp.dtype(name)
    keep = not x.ndim and np.float32(x.astype(dtype)) != x
    return np.array(x, np.float32 if keep else dtype, order="C")


def _check(config: Any, leaves: Mapping[Module, keys.Leaves]) -> None:
    """Raises InputError for what a layout has no keys for."""
    held = {leaf for each in leaves.values() for leaf in each}
    known = {
        "kohya": held,
        "peft": {*config.leaves, keys.MAGNITUDE} - {keys.MID},
        "diffusers": {keys.DOWN, keys.UP},
    }[config.layout]
    if config.layout == "peft" and config.dora == "columns":
        raise InputError("layout is peft, whose magnitudes are of rows: expected kohya for columns")
    strange = sorted(held - known)
    if strange:
        raise InputError(
            f"layout is {config.layout}, which has no {', '.join(strange)}: expected kohya"
            f"{' or peft' * (strange == [keys.MAGNITUDE])} for this adapter"
        )


def _kohya(config: Any, ranks: list[int], alphas: list[float], base: Any) -> dict[str, str]:
    """The metadata of kohya's files, and of LyCORIS' for what kohya's own cannot be."""
    width = base.experiment.condition_names().tokens
    ((rank, alpha), _), *_ = Counter(zip(ranks, alphas, strict=True)).most_common(1)
    plain = config.network == "lora" and not (config.dora or config.tucker)
    found = {
        keys.MODULE: "networks.lora" if plain else "lycoris.kohya",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(alpha),
        "ss_v2": str(width == 1024),
    }
    if width in (768, 1024):
        found["ss_base_model_version"] = "sd_v2" if width == 1024 else "sd_v1"
    if not plain:
        found["ss_network_args"] = json.dumps({"algo": config.network})
    return found


def _targets(ranks: Mapping[Module, int], every: list[Module]) -> dict[str, list[str]]:
    """PEFT's target_modules of each component: ends of names, since versions of transformers
    differ in how names begin."""
    found = {}
    for component in dict.fromkeys(module.component for module in ranks):
        adapted = {m.inner: m in ranks for m in every if m.component == component}
        found[f"{component}.target_modules"] = ends(adapted)[True]
    return found


def _said(
    config: Any, ranks: Mapping[Module, int], scales: Mapping[Module, float], leaves: Mapping
) -> dict[str, Any]:
    """PEFT's settings of each component, as diffusers puts them into a file."""
    found: dict[str, Any] = {}
    for component in dict.fromkeys(module.component for module in ranks):
        own = {m.inner: rank for m, rank in ranks.items() if m.component == component}
        alphas = {
            m.inner: round(scales[m] * (math.sqrt(rank) if config.rslora else rank), 6)
            for m, rank in ranks.items()
            if m.component == component
        }
        alphas = {n: int(x) if x == int(x) else x for n, x in alphas.items()}
        rank, rank_pattern = patterns(own)
        alpha, alpha_pattern = patterns(alphas)
        is_lora = config.network == "lora"
        each = {
            "peft_type": config.peft,
            "r": rank,
            "lora_alpha" if is_lora else "alpha": alpha,
            "rank_pattern": dict(rank_pattern),
            "alpha_pattern": dict(alpha_pattern),
        }
        if is_lora:
            each |= {"use_rslora": config.rslora, "use_dora": config.dora is not None}
        held = {leaf for m, x in leaves.items() if m.component == component for leaf in x}
        each |= config.peft_settings(held)
        found |= {f"{component}.{name}": value for name, value in each.items()}
    return found
