"""A request for images is made of sections, each declared once, in its own file.

A section is a frozen dataclass. Its fields are options of sample.py, each with its help as the text
below it, under names that no two sections of a run share:

    @dataclass(frozen=True)
    class Guidance(Section):
        \"\"\"How the condition guides.\"\"\"

        key: ClassVar[str] = "guidance"
        guidance: float | None = None
        \"\"\"scale of classifier-free guidance; 1: none\"\"\"

A new request is made of sections as the command line has them, `fill` puts the run's own settings
where an option is None, `check` says what cannot be; what draws the images asks the sections for
the rest. The methods here are neutral: a section says only what differs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import numpy as np
import tyro

from ldm_jax.errors import InputError
from ldm_jax.settings import check_ranges
from ldm_jax.settings import flag as flag
from ldm_jax.types import Batch

Texts = Annotated[tuple[str, ...], tyro.conf.arg(metavar="TEXT ...")]
Numbers = Annotated[tuple[float, ...], tyro.conf.arg(metavar="W ...")]


class RunView(NamedTuple):
    """What a section sees of a run.

    model:        the whole model, or a first stage that is one by itself
    experiment:   its settings
    image_size:   pixels a side, as trained
    factor:       pixels per latent in each direction
    channels:     of latents
    multiple:     of which the sides of images are multiples, in pixels
    conditions:   their settings
    rebuild:      conditions -> the model with these in place of its own
    tokenizers:   entry of a batch -> what makes it of a caption
    class_names:  () where classes have none; so object_names, of what lies in boxes
    diffusion:    whether it is a diffusion model, and no first stage by itself
    adapters:     that are attached, see `runs.attach`
    """

    run: Path
    model: Any
    experiment: Any
    image_size: int
    factor: int
    channels: int
    multiple: int = 1
    conditions: tuple[Any, ...] = ()
    rebuild: Callable[[tuple[Any, ...]], Any] | None = None
    tokenizers: Mapping[str, Any] = {}
    class_names: tuple[str, ...] = ()
    object_names: tuple[str, ...] = ()
    diffusion: bool = True
    adapters: tuple[Any, ...] = ()

    @property
    def data(self) -> Any:
        """Settings of the training data."""
        return self.experiment.data.seen_from(self.run)

    @property
    def sections(self) -> tuple[type["Section"], ...]:
        """Those of the conditions."""
        return tuple(dict.fromkeys(s for one in self.conditions for s in one.sections))

    @property
    def kind(self) -> str:
        """What the model is conditioned on, for messages."""
        return " and ".join(one.kind for one in self.conditions) or "no condition"

    def size(self, size: tuple[int, ...] = ()) -> tuple[int, int]:
        """Height and width in pixels: as asked, or as trained."""
        height, width = size or (self.image_size, self.image_size)
        return height, width

    def latent_shape(self, size: tuple[int, ...] = ()) -> tuple[int, int, int]:
        """[h, w, c] of an image of `size`, or of training's."""
        height, width = self.size(size)
        return height // self.factor, width // self.factor, self.channels

    def expected(self, size: tuple[int, ...] = ()) -> str:
        """The options by which the model's conditions are given, for images of `size`."""
        found = [one.takes(self.size(size)) for one in self.conditions]
        return "; ".join(found) or "nothing, the model is unconditional"

    def condition(self, section: type["Section"]) -> Any:
        """The condition that asks for a section."""
        return next(one for one in self.conditions if section in one.sections)


@dataclass(frozen=True)
class Section:
    """A part of a request."""

    key: ClassVar[str] = ""  # its name in a request, a report and the help
    saved: ClassVar[bool] = True  # whether it decides which images are drawn
    last: ClassVar[bool] = False  # whether it is filled after the others
    exportable: ClassVar[tuple[str, ...]] = ()  # options that exported programs have, too
    has_source: ClassVar[bool] = False  # whether it can say what an image to invert shows
    # an option -> others that are not to be taken from an earlier request once it is given again
    settles: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # an option -> another, without which it says nothing
    needs: ClassVar[Mapping[str, str]] = {}
    # an option -> others, beside which it would be said twice, or cannot be done
    excludes: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # an option of an earlier version -> that of today
    renamed: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def fits(cls, run: RunView) -> bool:
        """Whether a run can be asked this."""
        return True

    @classmethod
    def refusal(cls, option: str, value: Any, run: RunView) -> str:
        """Why a diffusion model that this section does not fit refuses one of its options."""
        return (
            f"{flag(option)} {shown(value)} is not what this model takes: expected {run.expected()}"
        )

    def fill(self, request: "Request", run: RunView) -> Self:
        """The section with the run's own settings where an option is not given.

        Args:
            request: as filled so far, with this section.

        Raises:
            InputError: an option that cannot be.
        """
        return self

    @property
    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        values = {field.name: (getattr(self, field.name), default(field)) for field in fields(self)}
        return {name: value for name, (value, own) in values.items() if value != own}

    def check_given(self, given: Mapping[str, Any]) -> None:
        """Raises InputError for an option out of its range, without another that it needs, or
        beside one that it excludes; `given` are those of all sections."""
        check_ranges(self, named=flag)
        for name, value in self.given.items():
            said = flag(name) if value is True else f"{flag(name)} {shown(value)}"
            if (needed := self.needs.get(name, name)) not in given:
                raise InputError(f"{said} without {flag(needed)}: expected both")
            for other in given.keys() & self.excludes.get(name, ()):
                raise InputError(
                    f"{said} and {flag(other)} do not go together: leave one of them out"
                )

    def check(self, request: "Request", run: RunView) -> None:
        """Raises InputError where the filled section does not go with the run or the others."""

    def count(self) -> int | None:
        """How many images the section is about; None: any number."""
        return None

    def inputs(self, request: "Request", run: RunView) -> Batch:
        """What the conditioner reads of it, each [num, ...]."""
        return {}

    def controls(self, request: "Request", run: RunView) -> dict[str, Any]:
        """What it says for all images, by the names of `sampling.generate.Controls`."""
        return {}

    def each(self, request: "Request", run: RunView) -> Batch:
        """What it says of each image, by the names of `sampling.generate.Controls`, [num, ...].

        Entries of a mapping there have its name and a dot before theirs, as "negative.tokens".
        """
        return {}

    def of_source(self, source: str | None, request: "Request", run: RunView) -> Batch:
        """What the conditioner reads of an image that shows `source`; None: of no condition."""
        return {}

    def visited(self, times: np.ndarray) -> np.ndarray:
        """The times to visit, [K + 1], of those that the sampler's spacing gives."""
        return times

    def noise(self, request: "Request", run: RunView) -> np.ndarray | None:
        """Standard normal noise to start from, [num, h, w, c]; None: that of the seeds."""
        return None

    def solver(self, make: Any) -> Any:
        """What makes the sampler of its options."""
        return make

    def wrap(self, model: Any, request: "Request", run: RunView) -> Any:
        """The model as the request wants it."""
        return model

    def guide(self, request: "Request", run: RunView, params: Any) -> tuple[Any, Any]:
        """What guides beside the condition (`sampling.generate.Guide`), and its params, which go
        among the model's; None, {}: nothing does. What it reads of each image, its scale included,
        is in `each` as "guides.NAME".

        Args:
            params: the model's.
        """
        return None, {}

    def finish(self, images: np.ndarray, inputs: Batch) -> np.ndarray:
        """Images of a batch, float [B, H, W, 3], with their inputs."""
        return images

    def describe(self, request: "Request", run: RunView) -> list[str]:
        """What is used that is not plain, for one line."""
        return []

    def alone(self, request: "Request", i: int) -> Self:
        """The section for image i of the request alone."""
        return self


@dataclass(frozen=True)
class Request:
    """Sections by their keys: `request.guidance.guidance`, `request.images.seed`."""

    _sections: Mapping[str, Section]

    @classmethod
    def of(cls, sections: Iterable[Section | type[Section]]) -> Self:
        """The request of sections, or of these with nothing given."""
        made = [one() if isinstance(one, type) else one for one in sections]
        return cls({one.key: one for one in made})

    def __getattr__(self, key: str) -> Any:
        try:
            return self.__dict__["_sections"][key]
        except KeyError:
            raise AttributeError(f"the request has no section '{key}'") from None

    def __contains__(self, key: str) -> bool:
        return key in self._sections

    def __iter__(self) -> Iterator[Section]:
        return iter(self._sections.values())

    def with_section(self, section: Section) -> "Request":
        """The request with a section in place of the one of its key."""
        return Request({**self._sections, section.key: section})

    def owners(self) -> dict[str, Section]:
        """Each option's section."""
        return {field.name: section for section in self for field in fields(section)}

    def replace(self, **options: Any) -> "Request":
        """The request with options by name, in whichever section they are."""
        owners, found = self.owners(), self
        for name, value in options.items():
            if name not in owners:
                raise TypeError(f"the request has no option '{name}'")
            section = getattr(found, owners[name].key)
            found = found.with_section(replace(section, **{name: value}))
        return found

    def options(self) -> dict[str, Any]:
        """All options by name, of the sections that are saved."""
        return {
            field.name: getattr(section, field.name)
            for section in self
            if section.saved
            for field in fields(section)
        }

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """The request by sections, as reports have it."""
        return {section.key: asdict(section) for section in self if section.saved}

    def filled(self, run: RunView) -> "Request":
        """The request with the run's own settings, checked.

        Raises:
            InputError: what the model cannot be asked for.
        """
        found, given = self, {n: x for section in self for n, x in section.given.items()}
        for section in self:
            section.check_given(given)
        for section in sorted(self, key=lambda section: section.last):
            found = found.with_section(getattr(found, section.key).fill(found, run))
        for section in found:
            section.check(found, run)
        return found

    def alone(self, i: int) -> "Request":
        """The request for image i alone."""
        return Request({section.key: section.alone(self, i) for section in self})


def seeds(request: Request) -> np.ndarray:
    """The seed of each image, [num]; all frames of an interpolation have one."""
    count = np.arange(request.images.num)
    return request.images.seed + (0 * count if interpolates(request) else count)


def turns(request: Request) -> np.ndarray:
    """The place of each image among what is cycled, [num]; all frames have the first."""
    count = np.arange(request.images.num)
    return 0 * count if interpolates(request) else request.images.turn + count


def for_each_composed(found: Batch, request: Request, droppable: Iterable[str]) -> Batch:
    """Entries [num, ...] as conditions that are composed have them: each of the n prompts the
    whole, [num, n, ...], of what guidance drops."""
    n = len(request.composition.compose) if "composition" in request else 0
    if not n:
        return found
    return {**found, **{k: np.stack([found[k]] * n, axis=1) for k in droppable if k in found}}


def interpolates(request: Request) -> bool:
    """Whether the images are frames of an interpolation."""
    return "interpolation" in request and request.interpolation.interpolate is not None


def shown(value: Any) -> str:
    """A value of an option as messages have it."""
    if isinstance(value, tuple | list):
        return shown(value[0]) if value else ""
    return f"{value:g}" if isinstance(value, float) else repr(value)


def default(field: Any) -> Any:
    """What a field is where nothing is given."""
    return field.default if field.default is not MISSING else field.default_factory()


def unknown(options: Mapping[str, Any], sections: Iterable[type[Section]], run: RunView) -> None:
    """Raises InputError for the first of options that none but one of these sections has.

    Args:
        options: which the run's sections do not have.
        sections: all that there are.
    """
    for name, value in options.items():
        for section in sections:
            if name in {field.name for field in fields(section)}:
                if run.diffusion:
                    raise InputError(section.refusal(name, value, run))
                raise InputError(
                    f"{flag(name)} given to a first stage: leave it out, or sample from the run of "
                    "a diffusion model"
                )


def once(sections: Iterable[type[Section]]) -> tuple[type[Section], ...]:
    """The sections, without those all of whose options are of an earlier or a larger one."""
    sections = tuple(dict.fromkeys(sections))
    names = [{field.name for field in fields(section)} for section in sections]
    return tuple(
        section
        for i, section in enumerate(sections)
        if not any(names[i] < other for other in names) and names[i] not in names[:i]
    )


def options_of(request: Request, name: str = "Options") -> Any:
    """A dataclass with a field for each section, which the command line fills in."""
    kind = make_dataclass(name, [(one.key, type(one), one) for one in request], frozen=True)
    kind.__doc__ = ""
    return kind()
