"""The interface of an adapter's settings.

An adapter is one file here: a subclass of `AdapterSettings`, frozen settings as a config file
writes them, and the functions that it builds. Nobody else asks for its class. What its weights are
called elsewhere is a table in `weights/names/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import numpy as np
import tyro
from tokenizers import Tokenizer

from ldm_jax.errors import InputError
from ldm_jax.runtime.files import whole_folder
from ldm_jax.sections import Request, RunView, Section, flag
from ldm_jax.settings import subclasses
from ldm_jax.types import Adapter, Batch, Derive, DiffusionModel, Params
from ldm_jax.weights.formats.files import write_weights

Arrays = Mapping[str, np.ndarray]
Files = Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME=]IMAGE ...")]


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
class AdapterSection(Section):
    """What `sample.py` asks for adapters whose settings name it in their `sections`."""

    # an option of files, each [NAME=]FILE of one adapter, that it needs -> what a file is
    files: ClassVar[Mapping[str, str]] = {}

    @property
    def needs(self) -> dict[str, str]:
        return dict.fromkeys(self.exportable, "adapter")

    @property
    def exportable(self) -> tuple[str, ...]:
        return tuple(field.name for field in fields(self))

    def check(self, request: Request, run: RunView) -> None:
        if not any(type(self) in one.settings.sections for one in run.adapters):
            kinds = [x.kind for x in subclasses(AdapterSettings) if type(self) in x.sections]
            for name in self.given:
                said = " or ".join(kinds)
                raise InputError(f"{flag(name)} is given without {said}: leave it out")

    def describe(self, request: Request, run: RunView) -> list[str]:
        plain = {name: x for name, x in self.given.items() if name not in self.files}
        return [flag(name) if x is True else f"{flag(name)} {x}" for name, x in plain.items()]


@dataclass(frozen=True)
class AdapterSettings:
    """Settings of an adapter; subclasses override what differs."""

    kind: ClassVar[str] = "an adapter"  # as messages call it
    sections: ClassVar[tuple[type[AdapterSection], ...]] = ()  # of a request of `sample.py`
    # whether it adds at each step, so that it can begin later and end earlier
    has_window: ClassVar[bool] = True
    has_switch: ClassVar[bool] = False  # whether `only_conditional` may be

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
    def fields(self) -> tuple[str, ...]:
        """What training's examples must have, beside an image and what the base reads."""
        return ()

    def derive(self, factor: int) -> dict[str, Derive]:
        """Entry of a batch -> how training makes it of an example (`data.pipeline.batches`)."""
        return {}

    @property
    def files(self) -> dict[str, str]:
        """The options of files among its own -> what a file is."""
        return {name: form for one in self.sections for name, form in one.files.items()}

    def given(self, options: Mapping[str, Any], size: tuple[int, int], data: Any) -> Batch:
        """Its entries of a batch, each [n, ...], as a request has it; cycled over the images.

        Args:
            options: of its sections by name, files as a list of its own.
            size: height and width of the images that are drawn, in pixels.
            data: settings of the base's training data.

        Raises:
            InputError: files that cannot be read, too few, or of other sizes.
        """
        return {}

    def by_site(self, base: Base, options: Mapping[str, Any]) -> dict[str, float]:
        """Site or layer -> factor of what it adds there, under these options; the rest is 1."""
        return {}

    def only_conditional(self, options: Mapping[str, Any]) -> bool:
        """Whether the unconditional images are drawn without it, under these options."""
        return False

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

    def write(self, path: Path, own: Params, base: Base) -> Arrays:
        """Writes the weights by their published names, as a new file or folder; what these are.

        Raises:
            InputError: `path` is no place for it.
        """
        self.check_place(path, ".safetensors", "NAME.safetensors")
        arrays, metadata = self.to_file(own, base)
        write_weights(path, arrays, metadata=metadata)
        return arrays

    def write_folder(self, layout: ModuleType, path: Path, own: Params, base: Base) -> Arrays:
        """The same in a layout of `weights.formats`."""
        self.check_place(path, "", f"a new folder, in {layout.LAYOUT}")
        arrays, metadata = self.to_file(own, base)
        with whole_folder(path) as unfinished:
            layout.write(unfinished, arrays, metadata)
        return arrays

    def check_place(self, path: Path, suffix: str, expected: str) -> None:
        """Raises InputError for a path of another suffix."""
        if path.suffix != suffix:
            raise InputError(
                f"'{path}' is no place for the file of {self.kind}: expected {expected}"
            )
