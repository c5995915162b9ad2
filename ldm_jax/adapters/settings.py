"""The interface of an adapter's settings.

An adapter is one file here: a subclass of `AdapterSettings`, frozen settings as a config file
writes them, and the functions that it builds. Nobody else asks for its class. What its weights are
called elsewhere is a table in `weights/names/`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from tokenizers import Tokenizer

from ldm_jax.types import Adapter, Batch, Derive, DiffusionModel, Params

Arrays = Mapping[str, np.ndarray]


class Base(NamedTuple):
    """The model that an adapter changes.

    experiment: its settings
    tokenizers: entry of a batch -> what makes it of a caption
    """

    experiment: Any
    model: DiffusionModel
    tokenizers: Mapping[str, Tokenizer] = {}

    @property
    def factor(self) -> int:
        """Pixels per latent in each direction."""
        return self.model.first_stage.factor


@dataclass(frozen=True)
class AdapterSettings:
    """Settings of an adapter; subclasses override what differs."""

    kind: ClassVar[str] = "an adapter"  # as messages call it
    # the options of `sample.py` by which files are given to it, each of which it needs
    options: ClassVar[tuple[str, ...]] = ()
    # fields that are options of `sample.py`, too: how much its parts count
    scales: ClassVar[tuple[str, ...]] = ()
    # whether it adds at each step, so that it can begin later and end earlier
    has_window: ClassVar[bool] = True
    has_guess: ClassVar[bool] = False  # whether guess mode is for it (Zhang et al. 2023, 4.1)

    def check(self, base: Base, prefix: str = "adapter.") -> None:
        """Raises InputError where it does not go with the base; `prefix` is of its fields."""

    def found(self) -> Self:
        """The same with what the files that it names say, and with where these are."""
        return self

    def named(self, name: str) -> Self:
        """The same with its entries of a batch under this name, beside others of its kind."""
        return self

    def read(self, base: Base) -> Base:
        """The base as the adapter needs it built, such as with further tokens."""
        return base

    def build(self, base: Base) -> Adapter:
        """Its functions, for a base that it has read."""
        raise NotImplementedError

    @property
    def folder(self) -> ModuleType | None:
        """What of `weights.formats` writes it as a folder; None: it is written as a file."""
        return None

    @property
    def fields(self) -> tuple[str, ...]:
        """What training's examples must have, beside an image and what the base reads."""
        return ()

    def derive(self, factor: int) -> dict[str, Derive]:
        """Entry of a batch -> how training makes it of an example (`data.pipeline.batches`)."""
        return {}

    def given(self, files: Mapping[str, Sequence[str]], size: tuple[int, int], data: Any) -> Batch:
        """Its entries of a batch, each [n, ...], of files; cycled over the images.

        Args:
            files: of each of `options`.
            size: height and width of the images that are drawn, in pixels.
            data: settings of the base's training data.

        Raises:
            InputError: files that cannot be read, too few, or of other sizes.
        """
        return {}

    def by_site(self, base: Base, guess: bool) -> dict[str, float]:
        """Site or layer -> factor of what it adds there, in guess mode or not; the rest is 1."""
        return {}

    @classmethod
    def of_file(
        cls, arrays: Arrays, metadata: Mapping[str, str], base: Base
    ) -> tuple[Self, Params] | None:
        """Settings and weights in a file of others; None: it holds another kind of adapter.

        Args:
            metadata: of the file; its own name and folder as "file" and "folder"; of a folder, also
                each .json file in it, by its name.

        Raises:
            InputError: it is of this kind, and does not fit the base.
        """
        return None

    def to_file(self, own: Params, base: Base) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """The weights by their published names, and the metadata of the file."""
        raise NotImplementedError

    def of_diffusers(self, base: Base) -> tuple[Self, dict[str, Any]] | None:
        """Settings by which the weights have diffusers' names, and the config.json beside them in a
        folder that diffusers reads; None: there is no such folder."""
        return None
