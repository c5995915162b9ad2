"""What a request says of an image that a condition is made of: a file, or held-out data."""

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from ldm_jax.data import pipeline
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section, flag, for_each_composed, seeds, turns
from ldm_jax.settings import check_within
from ldm_jax.types import Batch


@dataclass(frozen=True)
class HeldOut(Section):
    """Conditions of the run's data in place of files."""

    key: ClassVar[str] = "held_out"

    from_data: int | None = None
    """number of conditions of images that training did not see, cycled, in place of files"""

    @classmethod
    def refusal(cls, option: str, value: Any, run: RunView) -> str:
        return f"--from-data is {value}: leave it out, and give {run.expected()}"

    def count(self) -> int | None:
        return self.from_data

    def check(self, request: Request, run: RunView) -> None:
        if self.from_data and request.size.size:
            raise InputError(
                "--size and --from-data cannot both be: examples have the size of training"
            )


@dataclass(frozen=True)
class NoiseLevel(Section):
    """Noise on the image that a condition is made of."""

    key: ClassVar[str] = "noise"

    noise_level: int | None = None
    """how much noise is put on the small image, 20 where not given; or on the embedding of the
    image to vary, 0 where not given"""

    @classmethod
    def fits(cls, run: RunView) -> bool:
        return run.condition(cls).noise_levels is not None

    @classmethod
    def refusal(cls, option: str, value: Any, run: RunView) -> str:
        return (
            f"--noise-level is {value}: leave it out, since the model does not read how noisy an "
            "image is"
        )

    def fill(self, request: Request, run: RunView) -> Self:
        condition, level = run.condition(type(self)), self.noise_level
        most = condition.noise_levels
        if level is None:
            return replace(self, noise_level=min(condition.noise_level, most - 1))
        if not 0 <= level < most:
            raise InputError(f"--noise-level is {level}: expected 0 to {most - 1}, as in training")
        return self

    def drawn(self, name: str, shape: tuple[int, ...], request: Request) -> Batch:
        """The level, and standard normal noise [num, *shape] of each image's seed."""
        noise = [np.random.default_rng([1, seed]).standard_normal(shape) for seed in seeds(request)]
        level = np.full(request.images.num, self.noise_level, np.int32)
        return {name: np.float32(noise), "noise_level": level}


@dataclass(frozen=True)
class Given(Section):
    """Base of the sections of conditions that are made of files; the first option must be given."""

    def read(self, request: Request, run: RunView) -> Batch:
        """What the conditioner reads of the files, each [n, ...], to be cycled.

        Raises:
            InputError: files that do not fit the model.
        """
        raise NotImplementedError

    def missing(self) -> bool:
        """Whether a file that has to be given is not."""
        return not getattr(self, fields(self)[0].name)

    def noise_shape(self, inputs: Batch, run: RunView) -> dict[str, tuple[int, ...]]:
        """The entry that is noise on the inputs, and its shape, where the model reads its level."""
        return {}

    def check(self, request: Request, run: RunView) -> None:
        from_data = from_data_of(request)
        if from_data is None and self.missing():
            other = "; or --from-data N" * ("held_out" in request)
            wanted = run.condition(type(self)).takes(run.size(request.size.size))
            raise InputError(f"a condition is missing: expected {wanted}{other}")
        for field in fields(self):
            if isinstance(getattr(self, field.name), str) and from_data is not None:
                raise InputError(
                    f"{flag(field.name)} and --from-data both say what it is: leave one of them out"
                )
        self.examples(request, run)

    def examples(self, request: Request, run: RunView) -> Batch:
        """What the conditioner reads, each [n, ...], of files or of held-out data."""
        from_data = from_data_of(request)
        if from_data is None:
            return self.read(request, run)
        keys = tuple(key for key in run.model.conditioner.keys if key not in run.tokenizers)
        found = held_out(run.data, run.condition(type(self)), keys, from_data)
        return {key: found[key] for key in keys}

    def inputs(self, request: Request, run: RunView) -> Batch:
        rows = turns(request)
        found = {n: np.asarray(x)[rows % len(x)] for n, x in self.examples(request, run).items()}
        if "noise" in request:
            for name, shape in self.noise_shape(found, run).items():
                found |= request.noise.drawn(name, shape, request)
        return for_each_composed(found, request, run.model.conditioner.droppable)

    def of_source(self, source: str | None, request: Request, run: RunView) -> Batch:
        return self.inputs(request, run)


def from_data_of(request: Request) -> int | None:
    """How many held-out conditions are used; None: none."""
    return request.held_out.from_data if "held_out" in request else None


def held_out(
    data: Any, condition: Any, keys: tuple[str, ...], count: int, flag: str = "--from-data"
) -> Batch:
    """Images of the test split and their conditions, each [count, ...].

    Args:
        flag: by which the count was given.

    Raises:
        InputError: fewer examples, or conditions that the data do not hold.
    """
    data = replace(data, split="test")
    source, info = pipeline.open_source(data)
    check_within(count, flag, 1, info.num_examples, f"the examples of {source.name}")
    pipeline.check_batch(replace(data, batch_size=1), source, keys)
    batches = list(pipeline.once(data, source, count, keys, condition.derive(1)))
    return {name: np.concatenate([b[name] for b in batches]) for name in ("image", *keys)}
