"""Which run a path means, which checkpoint of it, and its config.

RUN stands for its newest checkpoint. Whatever reads a run also takes RUN/checkpoints/STEP, another
one of them, and RUN/checkpoints/best, the best by train.best.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from ldm_jax import checkpoint
from ldm_jax.errors import InputError
from ldm_jax.experiments import AnyExperiment
from ldm_jax.runs import reader

T = TypeVar("T", bound=AnyExperiment)


class Place(NamedTuple):
    """A run, and the step of one of its checkpoints; None: the newest that can be read."""

    run: Path
    which: int | None = None

    @property
    def path(self) -> Path:
        """By which `locate` finds it."""
        return self.run if self.which is None else self.run / "checkpoints" / str(self.which)

    @property
    def step(self) -> int | None:
        """Of the checkpoint; None where the run has none."""
        return checkpoint.latest_step(self.run) if self.which is None else self.which


def locate(place: Path | str) -> Place:
    """What RUN, RUN/checkpoints/STEP or RUN/checkpoints/best stands for.

    Raises:
        InputError: the run has no such checkpoint.
    """
    place = Path(place)
    run, word = place.parent.parent, place.name
    if place.parent.name != "checkpoints" or (place / "config.py").exists():
        return Place(place)
    if not (run / "config.py").exists():  # the error of any other folder
        return Place(run)
    found = checkpoint.steps(run)
    listed = ", ".join(map(str, sorted(found))) or "none, train it first with train.py"
    if word == "best":
        metric = read_config(run).train.best
        if not metric:
            raise InputError(
                f"run '{run}' has no best checkpoint, since train.best is not set: expected one of "
                f"{listed}"
            )
        step = checkpoint.best_step(run, metric)
        if step is None:
            raise InputError(
                f"run '{run}' has no checkpoint that was saved with {metric}, its train.best: "
                f"expected one of {listed}"
            )
        return Place(run, step)
    if not word.isdecimal() or int(word) not in found:
        best = "best or " * bool(read_config(run).train.best)
        raise InputError(f"run '{run}' has no checkpoint '{word}': expected {best}one of {listed}")
    return Place(run, int(word))


def chosen(run: Path | str, which: str | None) -> Path:
    """What stands for a checkpoint of a run, by its step or as the best; None: the newest.

    Raises:
        InputError: there is no such checkpoint, or no such run.
    """
    if which is None:
        return Path(run)
    if not (Path(run) / "config.py").exists():
        raise InputError(f"--checkpoint {which} is given with '{run}': expected a run")
    found = Path(run) / "checkpoints" / which
    locate(found)
    return found


def folder(place: Path | str) -> Path:
    """The folder of a run of which this is a checkpoint, or which this is."""
    return locate(place).run


def is_run(place: Path | str) -> bool:
    """Whether this is a run, or a checkpoint of one."""
    return (folder(place) / "config.py").exists()


def step_of(place: Place) -> int:
    """The step of a checkpoint; InputError where the run has none."""
    if place.step is None:
        raise InputError(f"run '{place.run}' has no checkpoint: train it first with train.py")
    return place.step


def weights_files(place: Path | str) -> Iterator[Path]:
    """The files of the weights that `place` stands for, see `locate`; none where it has none."""
    found = locate(place)
    folders = found.run / "checkpoints" / str(found.step) / "params", found.run / "frozen"
    return (file for folder in folders for file in folder.glob("**/*"))


def load_config(place: Path) -> AnyExperiment:
    """The config of a run.

    Raises:
        InputError: not a run.
    """
    return read_config(folder(place))


def load_config_of(place: Path, kind: type[T]) -> T:
    """The config of a run of one kind of training.

    Raises:
        InputError: not a run, or a run of something else.
    """
    found = load_config(place)
    if found.kind != kind.kind:
        raise InputError(
            f"run '{folder(place)}' is {found.kind}: expected the run of {kind.kind}, trained with "
            f"a config such as {kind.example}"
        )
    return found


def read_config(run: Path) -> AnyExperiment:
    """The config in a folder; see `load_config`."""
    if not run.exists():
        raise InputError(f"run '{run}' does not exist: expected a folder that train.py wrote")
    if not (run / "config.py").exists():
        raise InputError(
            f"'{run}' is not a run: it has no config.py; train one with train.py, or make one of a "
            "model from elsewhere with scripts/convert.py"
        )
    return reader.read(run / "config.py")
