"""Class labels: a learned vector a class (the original's ClassEmbedder).

It is attended to as one token (Rombach et al. 2022), or added to the step's embedding (Dhariwal and
Nichol 2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ldm_jax.conditioning.condition import BuildContext, Condition, DataInfo, ModelFacts
from ldm_jax.data.metadata import nfc
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section, shown, turns
from ldm_jax.settings import AtLeast1, Fraction
from ldm_jax.types import Batch, Cond, Conditioner
from ldm_jax.weights.names.condition import LABEL_VECTOR, ConditionNames, conditioner
from ldm_jax.weights.names.layers import embedding


@dataclass(frozen=True)
class Labels(Section):
    """Classes of the images."""

    key: ClassVar[str] = "labels"
    exportable: ClassVar[tuple[str, ...]] = ("label",)
    has_source: ClassVar[bool] = True
    renamed: ClassVar = {"labels": "label"}

    label: Annotated[tuple[str | int, ...], tyro.conf.arg(metavar="L ...")] = ()
    """classes by number or by name, cycled; of the model, or of the classifier that guides it"""

    @classmethod
    def refusal(cls, option: str, value: Any, run: RunView) -> str:
        return (
            f"--label {shown(value)} given to a model of {run.kind}: leave it out, or sample from "
            "a run whose config has conditions=(Label(),), or with --classifier RUN"
        )

    def classes(self, request: Request, run: RunView) -> tuple[int, Sequence[str]]:
        """How many classes there are, and their names."""
        return run.condition(Labels).num_classes, run.class_names

    def fill(self, request: Request, run: RunView) -> Self:
        count, names = self.classes(request, run)
        found = tuple(class_of(str(word), names, count) for word in self.label)
        return replace(self, label=found or tuple(range(count)))

    def count(self) -> int | None:
        return len(self.label) or None

    def cycled(self, request: Request) -> np.ndarray:
        """The class of each image, [num] int32."""
        return np.asarray(self.label, np.int32)[turns(request) % len(self.label)]

    def inputs(self, request: Request, run: RunView) -> Batch:
        return {"label": self.cycled(request)}

    def of_source(self, source: str | None, request: Request, run: RunView) -> Batch:
        if source is None:
            return run.model.conditioner.null(request.images.num)
        found = class_of(source, *reversed(self.classes(request, run)))
        return {"label": np.full(request.images.num, found, np.int32)}

    def alone(self, request: Request, i: int) -> Self:
        return replace(self, label=(int(self.cycled(request)[i]),)) if self.label else self


def class_of(word: str, names: Sequence[str], count: int) -> int:
    """The class that a word names or numbers."""
    if nfc(word) in names:
        return list(names).index(nfc(word))
    if word.isdecimal() and int(word) < count:
        return int(word)
    known = f", or one of {', '.join(names)}" if names else ""
    raise InputError(f"label '{word}' is out of range: expected 0 to {count - 1}{known}")


@dataclass(frozen=True)
class Label(Condition):
    """Class labels as one learned token (the original's cin256), or as one vector."""

    num_classes: AtLeast1 | None = None  # None: as many as the data has
    dim: AtLeast1 = 512  # of a vector: model.vector_dim, or 4 model.channels, where that is None
    slot: Literal["token", "vector"] = "token"  # attended to, or added to the step's embedding
    null: bool = True  # one entry more, for no class; without it there is no guidance
    drop: Fraction = 0.1  # how often training drops the condition, for classifier-free guidance

    kind: ClassVar = "class labels"
    reads: ClassVar = ("label",)
    has_weights: ClassVar = True
    square_only: ClassVar = False
    sections: ClassVar = (Labels,)

    @property
    def has_null(self) -> bool:
        return self.null

    @property
    def vector_width(self) -> int | None:
        return self.dim if self.slot == "vector" else None

    @property
    def token_width(self) -> int | None:
        return self.dim if self.slot == "token" else None

    def check(self, prefix: str) -> None:
        if not self.null and self.drop:
            raise InputError(
                f"{prefix}drop is {self.drop}: expected 0 where {prefix}null is False, since there "
                "is no unconditional input"
            )

    def check_model(self, model: ModelFacts, prefix: str) -> None:
        if not self.null and model.guidance != 1.0:
            raise InputError(
                f"sampling.guidance is {model.guidance}: expected 1 where {prefix}null is False, "
                "since guidance compares with no label"
            )

    def fitted(self, info: DataInfo, prefix: str = "") -> Condition:
        if not info.class_names:
            raise InputError(
                f"conditions has Label but the data has no classes: {info.absent['label']}; or use "
                "Text(), or no condition"
            )
        count = fit_classes(self.num_classes, f"{prefix}num_classes", info)
        return replace(self, num_classes=count)

    def build(self, context: BuildContext) -> Conditioner:
        """Reads `batch["label"]` [B] int32; the further class `num_classes` means no label, and
        without it class 0 is used, untrained."""

        def init(key):
            entries = self.num_classes + self.null
            return {"embedding": 0.02 * jax.random.normal(key, (entries, self.dim))}

        def apply(params, inputs):
            found = params["embedding"][inputs["label"]]
            return Cond(vector=found) if self.slot == "vector" else Cond(tokens=found[:, None])

        def null(n, h=1, w=1):
            return {"label": jnp.full((n,), self.num_classes if self.null else 0, jnp.int32)}

        return Conditioner(apply, null, ("label",), init)

    def names(self, channels: int) -> ConditionNames:
        entries = self.num_classes + self.null
        if self.slot == "vector":
            return ConditionNames(embedding("embedding", LABEL_VECTOR, entries, self.dim))
        table = embedding("embedding", "embedding", entries, self.dim)
        return conditioner(table, tokens=self.dim)

    def takes(self, size: tuple[int, int]) -> str:
        return "--label NUMBER"


def fit_classes(wanted: int | None, name: str, info: DataInfo) -> int:
    """The number of classes: `wanted`, or that of the data."""
    found = len(info.class_names)
    wanted = wanted or found
    if found > wanted:
        raise InputError(
            f"label {wanted} of class '{info.class_names[wanted]}' is out of range: the data "
            f"has {found} classes and {name} is {wanted}; set it to {found}"
        )
    return wanted
