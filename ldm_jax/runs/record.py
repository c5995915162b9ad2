"""What a run says of itself, against what it is asked to go on with.

The same command resumes a run. What it is (config.py, classes.txt, objects.txt) may differ from
what is asked in the fields of MAY_CHANGE alone: all else would make it another run, of which its
checkpoints, its averages and the record itself would no longer be true.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ldm_jax import checkpoint
from ldm_jax.errors import InputError
from ldm_jax.experiments import AnyExperiment
from ldm_jax.runs.digest import digest
from ldm_jax.runs.loading import load_first_stage
from ldm_jax.runs.names import class_names_of, object_names
from ldm_jax.runs.paths import read_config

# the same fields of "first_stage." may change, too
MAY_CHANGE = (
    "train.*",  # how long, on which devices, in which parts, and what is written on the way
    "evaluation.*",  # what is measured on the way
    "sampling.*",  # how images are drawn
    "data.path",
    "data.batch_size",
    "data.threads",
    "data.max_bad_images",
    "optim.lr",
    "optim.schedule",
    "optim.warmup",
    "optim.weight_decay",
    "optim.b1",
    "optim.b2",
    "optim.clip",
    "base",  # where it is, of the same base_digest
    "*.compute",  # the type in which a network computes
    "*.remat",
)
IN_WORDS = "steps, batch size, learning rate, logging and the like, see docs/reliability.md"
RUNS = ("first_stage.run", "diffusion_run")  # may be elsewhere, with the same weights
SHOWN = 4  # differences in one line


def check_record(
    run: Path, experiment: AnyExperiment, class_names: Sequence[str], objects: Sequence[str]
) -> None:
    """Raises InputError where a run that has been trained is another one than is asked.

    Args:
        experiment: all filled in.
        class_names, objects: of the data, where the model learns what they are; or else ().
    """
    there = read_config(run)
    if there.kind != experiment.kind:
        raise InputError(
            f"run '{run}' is {there.kind}: expected the run of {experiment.kind}, as the config "
            "is; use another --workdir"
        )
    found = [*_differences(run, there, experiment)]
    names = {"class": (class_names_of(run), class_names), "object": (object_names(run), objects)}
    for what, (old, new) in names.items():
        if old and new and tuple(old) != tuple(new):
            found.append(_first_other(what, old, new))
    if found:
        more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise InputError(
            f"run '{run}' is another one: {', '.join(found[:SHOWN])}{more}; expected what it was "
            f"begun with but for {IN_WORDS}; use another --workdir, where --init-from {run} "
            "starts from its weights"
        )


def settings_of(config: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a config by the names of their fields; of settings inside, their class, too."""
    return dict(_settings_of(config, prefix))


def _settings_of(config: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        inside = value if isinstance(value, tuple) else (value,)
        if not any(map(dataclasses.is_dataclass, inside)):
            yield name, value
            continue
        kinds = tuple(type(one).__name__ for one in inside)
        yield name, kinds if isinstance(value, tuple) else kinds[0]
        for i, one in enumerate(inside):
            yield from _settings_of(one, f"{name}.{i}." if isinstance(value, tuple) else f"{name}.")


def _differences(run: Path, there: AnyExperiment, here: AnyExperiment) -> Iterator[str]:
    old, new = settings_of(there), settings_of(here)
    given = any(new.get(name) for name in RUNS)
    for name in [*old, *(name for name in new if name not in old)]:
        was, wanted = (x.get(name, "absent") for x in (old, new))
        if was == wanted or _may_change(name, given):
            continue
        if name in RUNS and wanted is not None:
            alike = there.first_stage.model == here.first_stage.model
            if _absolute(was) == _absolute(wanted) or (alike and _same_weights(run, here, wanted)):
                continue
            wanted = f"{wanted} with other weights"
        yield f"{name} is {_quoted(was)} there and {_quoted(wanted)} here"


def _may_change(name: str, given: bool) -> bool:
    """Whether a field may; `given`: the first stage is another run's, whose training is over."""
    if given and name.startswith("first_stage.") and not name.startswith("first_stage.model"):
        return name not in RUNS
    name = name.removeprefix("first_stage.")
    return any(fnmatchcase(name, pattern) for pattern in MAY_CHANGE)


def _absolute(place: str | None) -> Path | None:
    return place and Path(place).absolute()


def _quoted(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


def _same_weights(run: Path, experiment: AnyExperiment, place: str) -> bool:
    """Whether a run's first stage is that of another run."""
    stage = experiment.first_stage.model.build()
    own = checkpoint.read_part(run, "params", "first_stage")
    return digest(own, stage) == digest(load_first_stage(Path(place), stage), stage)


def _first_other(what: str, old: Sequence[str], new: Sequence[str]) -> str:
    n = next(i for i in range(max(len(old), len(new))) if [*old[i : i + 1]] != [*new[i : i + 1]])
    was, is_now = (f"'{names[n]}'" if n < len(names) else "absent" for names in (old, new))
    return f"{what} {n} is {was} there and {is_now} here"
