"""What the low-rank adapters of weights have in common: which kernels, of which rank and alpha.

W' = W + scale * alpha / rank * delta, or DoRA's, of kernels that a file names by their layers
(`weights/names/lora.py`). Parts are under the names of the kernels that they change; a kernel that
is q, k and v at once has parts for each of them.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from ldm_jax.adapters import dora as doras
from ldm_jax.adapters import low_rank_files as files
from ldm_jax.adapters.settings import AdapterSettings, Arrays, Base
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1, Positive, did_you_mean
from ldm_jax.types import Adapter, Array, Params
from ldm_jax.weights.formats import peft_folder
from ldm_jax.weights.names.lora import (
    SPLIT,
    Module,
    ends_with,
    first_match,
    last_parts,
    modules,
)
from ldm_jax.weights.names.lora_keys import Layout

ATTENTION = r"^denoiser/.*/(self|cross)/(q|k|v|out)/kernel$"


@dataclass(frozen=True)
class LowRank(AdapterSettings):
    """Low-rank parts for kernels of a model; names as in PEFT, where it has one."""

    rank: AtLeast1 = 4  # of the change of a kernel
    alpha: Positive | None = None  # over the rank it scales the parts; None: the rank
    # ends of the published names of layers (to_q, ff.net.2, q_proj of a text encoder) that are
    # adapted; (): those that `match` finds
    target_modules: tuple[str, ...] = ()
    # a regular expression: kernels in whose name (denoiser/mid_attn/...) it is found are adapted
    match: str = ATTENTION
    # (a regular expression for the end of a layer's published name, its rank or alpha); of those
    # that match the first counts
    rank_pattern: tuple[tuple[str, AtLeast1], ...] = ()
    alpha_pattern: tuple[tuple[str, Positive], ...] = ()
    rslora: bool = False  # alpha / sqrt(rank) instead of alpha / rank (Kalajdzievski 2023)
    tucker: bool = False  # of convolutions: a part of k x k that is rank to rank, in Tucker's form
    dora: doras.Along | None = None  # magnitudes of the published weight's rows or columns
    dora_scaled: doras.Scaled = "change"  # what the scale multiplies, see adapters/dora.py
    layout: Layout = "kohya"  # of the file that is written
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"  # of the numbers in it

    has_window: ClassVar[bool] = False

    def write(self, path: Path, own: Params, base: Base) -> Arrays:
        if self.layout == "peft":
            return self.write_folder(peft_folder, path, own, base)
        return super().write(path, own, base)

    def check(self, base: Base, prefix: str = "adapter.") -> None:
        patterns = [("match", self.match)]
        patterns += [("rank_pattern", name) for name, _ in self.rank_pattern]
        patterns += [("alpha_pattern", name) for name, _ in self.alpha_pattern]
        for field, pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise InputError(
                    f"{prefix}{field} is '{pattern}': expected a regular expression ({error})"
                ) from None
        every = modules(base.experiment)
        for target in self.target_modules:
            if not any(ends_with(module.name, target) for module in every):
                ends = dict.fromkeys(end for module in every for end in last_parts(module.name))
                raise InputError(
                    f"{prefix}target_modules has '{target}', with which no layer of the base ends"
                    f"{did_you_mean(target, list(ends))}"
                )

    def build(self, base: Base) -> Adapter:
        return low_rank(self, modules(base.experiment))

    def rank_of(self, name: str) -> int:
        return first_match(self.rank_pattern, name, self.rank)

    def factor(self, name: str, rank: int) -> float:
        """What the parts of a layer are multiplied by: alpha / rank."""
        alpha = first_match(self.alpha_pattern, name, self.alpha)
        return 1.0 if alpha is None else alpha / (math.sqrt(rank) if self.rslora else rank)

    def factor_of(self, name: str, parts: Params) -> float:
        """The same for the parts that a layer has."""
        return self.factor(name, self.rank_in(parts) or self.rank_of(name))

    def adapts(self, module: Module) -> bool:
        if not self.target_modules:
            return re.search(self.match, module.path) is not None
        return any(ends_with(module.name, target) for target in self.target_modules)

    # What the kinds define

    leaves: ClassVar[tuple[str, ...]] = ()  # by which their files are known
    network: ClassVar[str] = ""  # LyCORIS' name of the algorithm
    peft: ClassVar[str] = ""  # PEFT's

    def start(self, key: Array, module: Module, shape: tuple[int, ...], rank: int) -> Params:
        """The parts of a kernel [..., I, O], of no effect."""
        raise NotImplementedError

    @staticmethod
    def delta(parts: Params) -> Array:
        """The change of a kernel, [..., I, O], without alpha / rank."""
        raise NotImplementedError

    @staticmethod
    def rank_in(parts: Params) -> int | None:
        """The rank of parts; None where they do not show it."""
        raise NotImplementedError

    @classmethod
    def parts(cls, leaves: Mapping[str, Any], module: Module) -> Params:
        """The parts of what a file has of a layer."""
        raise NotImplementedError

    @classmethod
    def to_leaves(cls, parts: Params, module: Module) -> dict[str, Any]:
        """The inverse of `parts`."""
        raise NotImplementedError

    @classmethod
    def described(cls, layers: Mapping[Module, Params], layout: Layout) -> dict[str, Any]:
        """Further fields, by the parts of a file and its layout."""
        return {}

    def peft_settings(self, leaves: set[str]) -> dict[str, Any]:
        """Further fields of PEFT's settings, for a file with these parts."""
        return {}

    @staticmethod
    def nodes(own: Params) -> Iterator["Node"]:
        return nodes(own)

    @classmethod
    def of_file(cls, arrays, metadata, base):
        return files.read(cls, arrays, metadata, base)

    def to_file(self, own, base):
        return files.write(self, own, base)


class Node(NamedTuple):
    """A kernel that is adapted."""

    path: tuple[str, ...]
    each: Mapping[str, Params]  # "" -> its parts, or those of "q", "k" and "v"


def nodes(own: Params) -> Iterator[Node]:
    """The kernels that the params of an adapter change."""
    for path, node in flatten_dict(own, is_leaf=lambda path, _: path[-1:] == ("kernel",)).items():
        yield Node(path, node if node.keys() <= set(SPLIT) else {"": node})


def low_rank(config: LowRank, every: list[Module]) -> Adapter:
    """The adapter of a model with these layers."""
    known: dict[str, list[Module]] = {}
    for module in every:
        known.setdefault(module.path, []).append(module)

    def of(path: tuple[str, ...], shape: tuple[int, ...]) -> list[Module]:
        """The layers of a kernel; one that no file names has its own name here."""
        name, published = "/".join(path), (*reversed(shape[-2:]), *shape[:-2])
        return known.get(name) or [Module(name, "", ".".join(path[:-1]), "", published)]

    def init(key: Array, params: Params) -> Params:
        chosen = [
            (path, module, kernel)
            for path, kernel in kernels_of(params)
            for module in of(path, kernel.shape)
            if config.adapts(module)
        ]
        if not chosen:
            raise InputError(
                f"match is '{config.match}': expected kernels of the model, and it finds none"
            )
        parts = {}
        for one, (path, module, kernel) in zip(
            jax.random.split(key, len(chosen)), chosen, strict=True
        ):
            mine = _slice(kernel, module.part)
            found = config.start(one, module, mine.shape, config.rank_of(module.name))
            if config.dora:
                found["magnitude"] = doras.norms(mine, config.dora)
            parts[(*path, module.part) if module.part else path] = found
        return unflatten_dict(parts)

    def weights(own: Params, params: Params, scale) -> Params:
        flat = flatten_dict(params, keep_empty_nodes=True)
        for path, each in nodes(own):
            kernel = flat[path]
            names = {module.part: module.name for module in of(path, kernel.shape)}
            wide = kernel.astype(jnp.float32)
            columns = {"": wide} if "" in each else {x: _slice(wide, x) for x in SPLIT}
            for part, parts in each.items():
                columns[part] = _changed(config, columns[part], parts, names[part], scale)
            whole = jnp.concatenate(list(columns.values()), axis=-1)
            flat[path] = whole.astype(kernel.dtype)
        return unflatten_dict(flat)

    return Adapter(init, weights=weights)


def _changed(config: LowRank, kernel: Array, parts: Params, name: str, scale) -> Array:
    """A kernel of a layer with its change."""
    parts = jax.tree.map(lambda x: x.astype(jnp.float32), parts)
    delta = config.factor_of(name, parts) * config.delta(parts)
    if "magnitude" not in parts:
        return kernel + scale * delta
    return doras.decomposed(kernel, delta, parts["magnitude"], scale, config.dora_scaled)


def product(factor: Params) -> Array:
    """A factor of a change, [..., I, O]; see `weights/names/lora_arrays.py`."""
    if "whole" in factor:
        return factor["whole"]
    if "mid" in factor:
        middle = jnp.einsum("ci,klij->klcj", factor["down"], factor["mid"])
        return middle @ factor["up"]
    return factor["down"] @ factor["up"]


def kaiming(key: Array, shape: tuple[int, ...], fan_in: int) -> Array:
    """PyTorch's kaiming_uniform(a=sqrt(5)): uniform in +-1 / sqrt(fan_in)."""
    return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0) / math.sqrt(fan_in)


def kernels_of(params: Params) -> Iterator[tuple[tuple[str, ...], Array]]:
    """The kernels of what an adapter may change of a model, in their order."""
    for name in ("denoiser", "conditioner"):
        for path, kernel in flatten_dict({name: params.get(name, {})}).items():
            if path[-1] == "kernel":
                yield path, kernel


def _slice(kernel: Array, part: str) -> Array:
    """The columns of q, k or v in a kernel; all of them of ""."""
    return jnp.split(kernel, 3, axis=-1)[SPLIT.index(part)] if part else kernel
