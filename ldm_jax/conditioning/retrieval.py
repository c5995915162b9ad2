"""Retrieved neighbours: embeddings of similar images, attended to (Blattmann et al. 2022)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax.numpy as jnp
import tyro

from ldm_jax.conditioning.condition import BuildContext, Condition
from ldm_jax.conditioning.given import Given
from ldm_jax.data import neighbours as search
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView
from ldm_jax.settings import AtLeast1, Fraction
from ldm_jax.types import Batch, Cond, Conditioner, Derive
from ldm_jax.weights.names.condition import ConditionNames


@dataclass(frozen=True)
class Neighbours(Given):
    """Embeddings of similar images."""

    key: ClassVar[str] = "retrieval"

    neighbours: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """a .npy of embeddings [k, dim], or a folder of such"""
    query: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """a .npy of embeddings [n, dim], cycled, whose nearest of --neighbours condition an image"""

    def read(self, request: Request, run: RunView) -> Batch:
        condition = run.condition(type(self))
        rows = search.load(self.neighbours, condition.dim, "--neighbours")
        if not self.query:
            return {"neighbours": rows[None]}
        queries, k = search.load(self.query, condition.dim, "--query"), condition.neighbours
        if len(rows) < k:
            raise InputError(
                f"--neighbours '{self.neighbours}' has {len(rows)} rows: expected at least {k}, "
                "the neighbours of a query that the model reads"
            )
        return {"neighbours": rows[search.nearest(rows, queries, k)]}


@dataclass(frozen=True)
class Retrieval(Condition):
    """Embeddings of the images that are nearest in a collection (Blattmann et al. 2022)."""

    dim: AtLeast1 = 768  # of an embedding, CLIP's
    neighbours: AtLeast1 = 4  # that training shows
    embeddings: str | None = None  # .npy [N, dim], a row for each image of the training data
    drop: Fraction = 0.1  # share of images whose neighbours are dropped in training

    kind: ClassVar = "neighbours"
    reads: ClassVar = ("neighbours",)
    sections: ClassVar = (Neighbours,)

    @property
    def token_width(self) -> int | None:
        return self.dim

    def derive(self, factor: int) -> dict[str, Derive]:
        """Embeddings of the nearest other images, [k, dim] float32.

        Raises:
            InputError: embeddings that cannot be read, or fewer than there are to show.
        """
        if not self.embeddings:
            raise InputError(
                "embeddings of Retrieval is not set: expected a .npy [N, dim] with a row for each "
                "image of the training data"
            )
        rows = search.load(self.embeddings, self.dim, "embeddings of Retrieval")
        if len(rows) <= self.neighbours:
            raise InputError(
                f"embeddings of Retrieval '{self.embeddings}' has {len(rows)} rows: expected more "
                f"than its neighbours, which is {self.neighbours}"
            )
        near = search.nearest_others(rows, self.neighbours)

        def make(example, rng):
            if example["index"] >= len(rows):
                raise InputError(
                    f"{example['name']} is image {example['index']} and embeddings of Retrieval "
                    f"'{self.embeddings}' has {len(rows)} rows: expected one for each image"
                )
            return rows[near[example["index"]]]

        return {"neighbours": make}

    def build(self, context: BuildContext) -> Conditioner:
        """Reads `batch["neighbours"]` [B, k, dim]; zeros are the unconditional input.

        Embeddings are attended to without order, so that k may differ from training.
        """
        shape = self.neighbours, self.dim
        return Conditioner(
            apply=lambda params, inputs: Cond(tokens=inputs["neighbours"]),
            null=lambda n, h=1, w=1: {"neighbours": jnp.zeros((n, *shape))},
            keys=("neighbours",),
        )

    def names(self, channels: int) -> ConditionNames:
        return ConditionNames(tokens=self.dim)

    def takes(self, size: tuple[int, int]) -> str:
        return (
            f"--neighbours FILE.npy, embeddings [k, {self.dim}]; or a collection of them "
            f"[N, {self.dim}] and --query FILE.npy [n, {self.dim}], whose nearest rows are taken"
        )
