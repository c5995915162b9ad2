"""The interface of a condition's settings.

A condition is one file here: a subclass of `Condition`, frozen settings as a config file writes
them, and the functions that it builds. Nobody else asks for its class: what a check, a command or a
conversion needs to know is a method or a class variable of `Condition`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

from ldm_jax.backbones.settings import BackboneSettings
from ldm_jax.data.pipeline import DataInfo
from ldm_jax.errors import InputError
from ldm_jax.sections import Section
from ldm_jax.types import Conditioner, Derive, FirstStage, Params
from ldm_jax.weights.names.condition import ConditionNames, DiffusersFacts, DiffusersParts


class ModelFacts(NamedTuple):
    """What of a whole model its conditions must agree with."""

    network: BackboneSettings
    factor: int  # pixels per latent in each direction
    guidance: float = 1.0  # the scale with which images are sampled


class BuildContext(NamedTuple):
    """What of a whole model a condition is built from."""

    tokenizers: Mapping[str, Tokenizer]  # entry of a batch -> what makes it of a caption
    first_stage: FirstStage
    vector_dim: int | None = None  # of the backbone


@dataclass(frozen=True)
class Condition:
    """Settings of a condition; subclasses override what differs."""

    kind: ClassVar[str] = "a condition"  # what it is conditioned on, as messages call it
    reads: ClassVar[tuple[str, ...]] = ()  # the entries of a batch by which commands find it
    # how often training drops it; no annotation, by which it would be the first field of subclasses
    drop = 0.0
    stays: ClassVar[bool] = False  # dropped only where there is no condition that does not stay
    # it is concatenated to latents or computed from a square image: no `data.buckets`
    square_only: ClassVar[bool] = True
    noise_level: ClassVar[int] = 0  # that sampling takes where none is given
    of_whole_image: ClassVar[bool] = False  # parts of an image cannot be drawn by themselves
    has_weights: ClassVar[bool] = False
    frozen: ClassVar[bool] = False  # whether its weights do not train
    from_file: ClassVar[bool] = False  # training begins with weights of a file, see `published`
    sections: ClassVar[tuple[type[Section], ...]] = ()  # of a request of `sample.py`

    # how it trains

    @property
    def text_encoders(self) -> Mapping[str, Any]:
        """Entry of a batch -> the `conditioning.text.Text` that encodes the captions in it."""
        return {}

    @property
    def token_tables(self) -> Mapping[str, tuple[str, ...]]:
        """Entry of a batch -> where in its params the embeddings of those tokens are."""
        return {}

    @property
    def apart(self) -> Mapping[tuple[str, ...], float]:
        """Its entries of a batch -> how often training drops them alone, see `dropout.drop`."""
        return {}

    def fed(self, entry: str) -> "Condition":
        """The same as it reads an entry that the model before it in a cascade draws."""
        return self

    @property
    def vector_width(self) -> int | None:
        """Width of the vector that it gives the network; None: it gives none."""
        return None

    @property
    def token_width(self) -> int | None:
        """Width of the tokens that are attended to; None: it has none."""
        return None

    def heads(self, prefix: str) -> list[tuple[str, int]]:
        """Its counts of attention heads by name, which `train.mesh.tensor` shares out."""
        return []

    def check(self, prefix: str) -> None:
        """Raises InputError where fields do not go together; `prefix` is of their names."""

    def check_model(self, model: ModelFacts, prefix: str) -> None:
        """Raises InputError where it does not go with the rest of the model."""

    def check_vector(self, model: ModelFacts, prefix: str) -> None:
        """Raises InputError where its vector, the only one, does not fit the network."""
        expected = model.network.vector_width
        if self.vector_width != expected:
            reason = "added to the step's"
            if model.network.vector_dim:
                reason = "as wide as model.vector_dim"
            raise InputError(
                f"{prefix}dim is {self.vector_width}: expected {expected}, since its vector is "
                f"{reason}"
            )

    def fitted(self, info: DataInfo, prefix: str = "") -> "Condition":
        """The same with fields that follow from the data filled in.

        Raises:
            InputError: the data have not what it reads, or labels beyond it.
        """
        return self

    def derive(self, factor: int) -> dict[str, Derive]:
        """Entry of a batch -> how it is made of an example (`data.pipeline.batches`)."""
        return {}

    def build(self, context: BuildContext) -> Conditioner:
        """Its conditioner."""
        raise NotImplementedError

    def published(self) -> Params | None:
        """Its weights in a file that is found or fetched; None: they are drawn.

        Raises:
            InputError: there is no such file, or it has other weights.
        """
        return None

    def same_weights(self, other: "Condition") -> bool:
        """Whether the weights of a run with the other condition replace those of a file."""
        return False

    @property
    def noise_levels(self) -> int | None:
        """Levels of noise that training puts on it; None: there is no noise.

        Where it has no vector itself, the network has a vector for each.
        """
        return None

    @property
    def embeds(self) -> bool:
        """Whether it knows images by their embeddings, see `embedded`."""
        return False

    def embedded(self, params: Params, images: Sequence[Image.Image]) -> np.ndarray:
        """The embeddings [n, d] of images, by its own params."""
        raise NotImplementedError

    @property
    def has_null(self) -> bool:
        """Whether there is an input that stands for none, with which guidance compares."""
        return True

    # its weights elsewhere

    def names(self, channels: int) -> ConditionNames:
        """The original names of its weights, for latents of `channels` channels."""
        raise InputError(f"{type(self).__name__} is published nowhere: it has no other names")

    def diffusers(self) -> DiffusersParts | None:
        """What it is in a folder of diffusers; None: diffusers has no such models."""
        return None

    def named_as(self, keys: Collection[str]) -> "Condition":
        """The same with the names of its weights that a file has, where there are several."""
        return self

    @classmethod
    def of_diffusers(cls, facts: DiffusersFacts) -> "Condition | None":
        """That of a model in a folder of diffusers; None: the model has none of this kind."""
        return None

    def left_out(self) -> tuple[dict[str, np.ndarray], str]:
        """Weights that a file of the original may do without, by its keys, and a warning for that
        case."""
        return {}, ""

    def with_vocabulary(self, sizes: Mapping[str, int]) -> "Condition":
        """The same with as many tokens as its tokenizers have, by the entry of a batch."""
        return self

    # how images are drawn

    def takes(self, size: tuple[int, int]) -> str:
        """What has to be given to `sample.py`, for images of `size` (H, W)."""
        return "nothing"


def find(conditions: tuple[Condition, ...], entry: str) -> Any:
    """The condition that reads this entry of a batch; None where none does."""
    return next((c for c in conditions if entry in c.reads), None)
