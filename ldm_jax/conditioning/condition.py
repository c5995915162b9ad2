"""The interface of a condition's settings.

A condition is one file here: a subclass of `Condition`, frozen settings as a config file writes
them, and the functions that it builds. Nobody else asks for its class: what a check, a command or a
conversion needs to know is a method or a class variable of `Condition`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from tokenizers import Tokenizer

from ldm_jax.errors import InputError
from ldm_jax.sections import Section
from ldm_jax.types import Conditioner, Derive, FirstStage, Params
from ldm_jax.weights.names.condition import ConditionNames, DiffusersParts


class ModelFacts(NamedTuple):
    """What of a whole model its conditions must agree with.

    factor:         pixels per latent in each direction
    vector_width:   width of a vector that the network takes
    vector_dim:     the same where the network has layers for a vector; None: it is added as it is
    vector_entries: entries of the network's table of vectors; None: it has none
    guidance:       the scale with which images are sampled
    """

    factor: int
    vector_width: int
    vector_dim: int | None = None
    vector_entries: int | None = None
    guidance: float = 1.0


class BuildContext(NamedTuple):
    """What of a whole model a condition is built from.

    tokenizers:  entry of a batch -> what makes it of a caption
    first_stage: of the model
    vector_dim:  see `ModelFacts`
    """

    tokenizers: Mapping[str, Tokenizer]
    first_stage: FirstStage
    vector_dim: int | None = None


class DataFacts(Protocol):
    """What is known of a data set (`data.pipeline.DataInfo`)."""

    class_names: tuple[str, ...]
    object_names: tuple[str, ...]
    has_captions: bool
    absent: Mapping[str, str]  # "label", "text", ... -> why there is none, and a remedy


@dataclass(frozen=True)
class Condition:
    """Settings of a condition; subclasses override what differs.

    kind:          what it is conditioned on, as messages call it
    reads:         the entries of a batch by which commands find it, such as ("label",)
    drop:          how often training drops it, where that is no field
    stays:         whether it is dropped only where there is no condition that does not stay
    square_only:   it is concatenated to latents or computed from a square image: no `data.buckets`
    held_out:      whether the data set holds it for images that training did not see
    noise_level:   that sampling takes where none is given
    of_whole_image: whether parts of an image cannot be drawn by themselves
    of_image:      whether it is CLIP's embedding of an image
    has_weights:   whether it has any
    frozen:        whether its weights do not train
    from_file:     whether training begins with weights of a file, see `published`
    sections:      its sections of a request of `sample.py`
    """

    kind: ClassVar[str] = "a condition"
    reads: ClassVar[tuple[str, ...]] = ()
    drop = 0.0  # no annotation, by which it would be a field of subclasses, and the first
    stays: ClassVar[bool] = False
    square_only: ClassVar[bool] = True
    held_out: ClassVar[bool] = True
    noise_level: ClassVar[int] = 0
    of_whole_image: ClassVar[bool] = False
    of_image: ClassVar[bool] = False
    has_weights: ClassVar[bool] = False
    frozen: ClassVar[bool] = False
    from_file: ClassVar[bool] = False
    sections: ClassVar[tuple[type[Section], ...]] = ()

    # how it trains

    @property
    def text_encoders(self) -> Mapping[str, Any]:
        """Entry of a batch -> the `conditioning.text.Text` that encodes the captions in it."""
        return {}

    @property
    def vector_width(self) -> int | None:
        """Width of the vector that it gives the network; None: it gives none."""
        return None

    @property
    def levels(self) -> int | None:
        """Levels of noise that the network has vectors for; None: it gives no level."""
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
        if self.vector_width != model.vector_width:
            reason = "as wide as model.vector_dim" if model.vector_dim else "added to the step's"
            raise InputError(
                f"{prefix}dim is {self.vector_width}: expected {model.vector_width}, since its "
                f"vector is {reason}"
            )

    def fitted(self, info: DataFacts, prefix: str = "") -> "Condition":
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
        """Levels of noise that training puts on it; None: there is no noise."""
        return None

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
