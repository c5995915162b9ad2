"""Starting from weights: those of another run, trained here or converted, without its optimizer.

Weights are matched by their names in the tree of parameters; averages are preferred. Of the parts
(denoiser, conditioner, ...) that both have, every array must find its like: what is missing there,
unexpected or of another shape stops, with all names. A part that one side lacks (a discriminator, a
conditioner of another kind) is only said. Where `partial` is asked for, what matches is taken, the
rest is initialized, and all of it is reported.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from flax.traverse_util import flatten_dict, unflatten_dict

from ldm_jax import checkpoint, runs
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runtime.files import write_whole
from ldm_jax.runtime.sharding import devices, named
from ldm_jax.types import Params

NAMED = 8  # names in one line
FILE = "init_from.txt"  # of a run that started from another: which one


class Start(NamedTuple):
    """A run to start from, and what of it.

    run:    its folder, or that of one of its checkpoints, see `runs`
    inside: whether the wanted parts lie in its "first_stage"
    """

    run: Path
    experiment: runs.AnyExperiment
    shapes: Params
    averaged: frozenset[str]
    partial: bool
    inside: bool = False


def start_from(run: Path, wanted: runs.AnyExperiment, partial: bool) -> Start:
    """What a run has for training `wanted`; no weight is read.

    Raises:
        InputError: not a run, one without a checkpoint, or one of another kind of model.
    """
    there = runs.load_config(run)
    found = runs.locate(run)
    run, shapes = found.path, checkpoint.weight_shapes(*found)
    averaged = checkpoint.averaged_parts(*found)
    first_stage = FirstStageExperiment.kind
    if wanted.kind == first_stage and there.kind == Experiment.kind:
        return Start(run, there, shapes.get("first_stage", {}), averaged, partial, inside=True)
    if there.kind != wanted.kind:
        remedy = "; --first-stage.run takes the run of a first stage" * (there.kind == first_stage)
        raise InputError(
            f"--init-from '{run}' is {there.kind}: expected a run of what the config trains{remedy}"
        )
    own = {part: tree for part, tree in shapes.items() if part != "first_stage"}  # see `training`
    return Start(run, there, own, averaged, partial)


class Match(NamedTuple):
    """Names of arrays, "part/module/array", and of parts that only one side has."""

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]
    absent: list[str]
    left: list[str]


def match(start: Start, target: Params) -> Match:
    """Compares names and shapes; raises InputError where they differ and not only part is asked.

    Args:
        target: shapes (or arrays) of the parts of params that are to be filled.
    """
    here, there = ({k: x.shape for k, x in named(tree).items()} for tree in (target, start.shapes))
    absent = sorted(_parts(here) - _parts(there))
    left = sorted(start.shapes.keys() - target.keys())
    here = {name: shape for name, shape in here.items() if name.split("/")[0] not in absent}
    there = {name: shape for name, shape in there.items() if name.split("/")[0] not in left}
    found = Match(
        matched=[name for name in here if there.get(name) == here[name]],
        missing=[name for name in here if name not in there],
        unexpected=[name for name in there if name not in here],
        misshapen=[
            f"{name} is {there[name]} there and {here[name]} here"
            for name in here
            if there.get(name, here[name]) != here[name]
        ],
        absent=absent,
        left=left,
    )
    wrong = [*found.misshapen]
    wrong += [f"{name} is missing there" for name in found.missing]
    wrong += [f"{name} is unexpected" for name in found.unexpected]
    if not found.matched:
        raise InputError(f"--init-from '{start.run}' has none of these weights: {_some(wrong)}")
    if wrong and not start.partial:
        raise InputError(
            f"--init-from '{start.run}' has other weights: {_some(wrong)}; use a config of the "
            "same architecture, or --init-partial to take those that match"
        )
    return found


def note(folder: Path, start: Start | None) -> None:
    """Writes into the folder of a run which other one it starts from, if any."""
    if start:
        write_whole(folder / FILE, f"{start.run.absolute()}\n")
    else:
        (folder / FILE).unlink(missing_ok=True)


def check_same(folder: Path, start: Start) -> None:
    """Raises InputError where a run that goes on has not started from what --init-from says."""
    file, given = folder / FILE, str(start.run.absolute())
    begun = file.read_text("utf-8").strip() if file.is_file() else None
    if begun != given:
        said = f"'{begun}'" if begun else "no other run"
        raise InputError(
            f"--init-from is '{given}', and run '{folder}' has started from {said}: expected the "
            "same or none, to go on with it, or another --workdir"
        )


def fill(start: Start, params: Params) -> Params:
    """The params with the weights that match in place of their own; says what became of each."""
    found = match(start, params)
    own = flatten_dict(params, keep_empty_nodes=True, sep="/")
    chosen = unflatten_dict({name: own[name] for name in found.matched}, sep="/")
    target = devices("jit").target({"first_stage": chosen} if start.inside else chosen)
    run, which = runs.locate(start.run)
    read = checkpoint.restore_weights(run, target, exact=False, which=which)
    read = read["first_stage"] if start.inside else read
    _say(start, found)
    return unflatten_dict({**own, **flatten_dict(read, sep="/")}, sep="/")


def _say(start: Start, found: Match) -> None:
    found_at = runs.locate(start.run)
    taken = {"first_stage"} if start.inside else _parts(found.matched)
    used = sorted(start.averaged & taken)
    print(
        f"starting from '{found_at.run}', step {found_at.step}: {len(found.matched)} arrays"
        + (f", of {', '.join(used)} the averages" if used else "")
    )
    for what, names in (
        ("missing in the run, initialized", found.missing),
        ("only in the run, not used", found.unexpected),
        ("of another shape, initialized", found.misshapen),
        ("a part missing in the run, initialized", found.absent),
        ("a part only in the run, not used", found.left),
    ):
        if names:
            print(f"{what}: {_some(names)}")


def _parts(names: Iterable[str]) -> set[str]:
    return {name.split("/")[0] for name in names}


def _some(names: list[str]) -> str:
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
