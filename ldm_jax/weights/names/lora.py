"""The layers of a model that low-rank adapters change, by all the names that files give them.

A name in which dots became underscores cannot be split again: names are made of the model's own
tables and looked up.
"""

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ldm_jax.weights.names import diffusers_model
from ldm_jax.weights.names.condition import CONDITIONER, part
from ldm_jax.weights.names.model import DENOISER
from ldm_jax.weights.table import CONV, DENSE, Row, Shape, Table, under

UNET, TEXT = "unet", "text_encoder"  # components, by which published names begin
# component -> what its names begin with in kohya's files and in those of LyCORIS' library
UNDERSCORED = {
    UNET: ("lora_unet_", "lycoris_"),
    TEXT: ("lora_te_", "lora_te1_", "lycoris_"),
    "text_encoder_2": ("lora_te2_",),
}
PEFT = "base_model.model."  # what names begin with in PEFT's files
SPLIT = "qkv"  # parts of a kernel that is three in files


class Module(NamedTuple):
    """A linear layer or a convolution of a model."""

    path: str  # of its kernel in params, with slashes
    part: str  # "q", "k" or "v" of a kernel that is three layers in files; "" of a whole one
    name: str  # published: its component, a dot, and its name in diffusers or transformers
    original: str  # its name in the original's files, without what all begin with
    shape: Shape  # of the published weight, [O, I, ...]

    @property
    def component(self) -> str:
        return self.name.partition(".")[0]

    @property
    def inner(self) -> str:
        """Its name in the component."""
        return self.name.partition(".")[2]

    @property
    def spatial(self) -> Shape:
        """Of a kernel [k, k, I, O] here; () of one [I, O], which files may have as 1x1."""
        return self.shape[2:] if any(k != 1 for k in self.shape[2:]) else ()


def modules(experiment: Any) -> list[Module]:
    """The layers of a model's denoiser and of what encodes its conditions."""
    rows = [row for row in experiment.original_names().table if row.layout in (DENSE, CONV)]
    denoiser = [row for row in rows if row.path.startswith("denoiser/")]
    bare = [row._replace(path=row.path.removeprefix("denoiser/")) for row in denoiser]
    known = diffusers_model.unet_names(bare, len(experiment.model.channel_mults))
    found = list(_modules(denoiser, known, UNET, DENOISER))
    encoders = {row.path: row for row in _encoders(experiment)}
    own = [row for row in rows if row.path.startswith("conditioner/")]
    # text encoders that neither kohya nor diffusers knows keep their names in the original
    known = [encoders.get(row.path, _bare(row)) for row in own]
    return [*found, *_modules(own, known, TEXT, CONDITIONER)]


def _bare(row: Row) -> Row:
    return row._replace(keys=tuple(key.removeprefix(CONDITIONER) for key in row.keys))


def _encoders(experiment: Any) -> Iterator[Row]:
    """The rows of the text encoders that transformers has, too, in its names."""
    for i, one in enumerate(experiment.conditions):
        described = one.diffusers()
        inside, rows = (described and described.components.get(TEXT)) or ("", [])
        place = "/".join(x for x in ("conditioner", part(i) if i else "", inside) if x)
        yield from under(rows, f"{place}/")


def _modules(rows: Table, known: Table, component: str, prefix: str) -> Iterator[Module]:
    for row, other in zip(rows, known, strict=True):
        if not row.path.endswith("/kernel"):
            continue
        olds = row.keys if len(row.keys) == len(other.keys) else [""] * len(other.keys)
        names = SPLIT if len(other.keys) == len(SPLIT) else ("",)
        shape = other.shape if len(other.keys) > 1 else row.shape
        for name, key, old in zip(names, other.keys, olds, strict=True):
            plain = old.removeprefix(prefix).removesuffix(".weight")
            full = f"{component}.{key.removesuffix('.weight')}"
            yield Module(row.path, name, full, plain, shape)


def by_name(every: Iterable[Module]) -> dict[str, Module]:
    """The modules by each name under which a file may have them."""
    found = {}
    for module in every:
        inner = module.inner
        inners = {inner, inner.removeprefix("text_model."), module.original} - {""}
        for one in inners:
            dotted = (one, f"{module.component}.{one}", PEFT + one)
            underscored = one.replace(".", "_")
            starts = UNDERSCORED.get(module.component, ())
            names = [*dotted, f"{module.component}.{PEFT}{one}", *(s + underscored for s in starts)]
            found |= {name: found.get(name, module) for name in names}
    return found


def ends_with(name: str, target: str) -> bool:
    """Whether the last parts of a dotted name are these."""
    return f".{name}".endswith(f".{target}")


def last_parts(name: str) -> list[str]:
    """A dotted name without its first part, without its first two, and so on, without numbers
    at the start."""
    words = name.split(".")
    ends = [".".join(words[i:]) for i in range(1, len(words)) if not words[i].isdigit()]
    return ends[::-1]


def first_match(patterns, name: str, otherwise):
    """The value of the first pattern that is the end of a name, as in PEFT."""
    found = (value for pattern, value in patterns if re.match(rf"(.*\.)?({pattern})$", name))
    return next(found, otherwise)


def ends(values: Mapping[str, Hashable]) -> dict[Any, list[str]]:
    """Value -> ends of names that only names of this value have, the shortest that there are."""
    held: dict[str, set] = {}
    for name, value in values.items():
        for end in (*last_parts(name), name):
            held.setdefault(end, set()).add(value)
    found: dict[Any, dict[str, None]] = {}
    for name, value in values.items():
        own = next(end for end in (*last_parts(name), name) if len(held[end]) == 1)
        found.setdefault(value, {})[own] = None
    return {value: list(each) for value, each in found.items()}
