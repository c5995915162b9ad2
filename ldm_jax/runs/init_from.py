"""Starting from weights: those of another run, trained here or converted, without its optimizer.

Weights are matched by their names in the tree of parameters; averages are preferred. Of the parts
(denoiser, conditioner, ...) that both have, every array must find its like: what is missing there,
unexpected or of another shape stops, with all names. A part that one side lacks (a discriminator, a
conditioner of another kind) is only said. Where `partial` is asked for, what matches is taken, the
rest is initialized, and all of it is reported.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax

from ldm_jax import checkpoint, runs
from ldm_jax.errors import InputError
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.experiments.first_stage import FirstStageExperiment
from ldm_jax.runtime.sharding import devices
from ldm_jax.types import Params

NAMED = 8  # names in one line


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
    folder, which = runs.locate(run)
    run = folder if which is None else folder / "checkpoints" / str(which)
    shapes = checkpoint.weight_shapes(folder, which)
    averaged = frozenset(checkpoint.averaged_parts(folder, which))
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
    absent = sorted(part for part in target if _names(target[part]) and not _has(start, part))
    left = sorted(part for part in start.shapes if part not in target)
    both = [part for part in target if part not in absent]
    here = _names({part: target[part] for part in both})
    there = _names({part: start.shapes[part] for part in both if part in start.shapes})
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


def fill(start: Start, params: Params) -> Params:
    """The params with the weights that match in place of their own; says what became of each."""
    found = match(start, params)
    names = set(found.matched)
    chosen = {
        part: tree
        for part in params
        if (tree := _only(params[part], names, part)) is not None and part not in found.absent
    }
    target = devices("jit").target({"first_stage": chosen} if start.inside else chosen)
    run, which = runs.locate(start.run)
    read = checkpoint.restore_weights(run, target, exact=False, which=which)
    read = read["first_stage"] if start.inside else read
    _say(start, found)
    return {part: _replaced(tree, read.get(part, {})) for part, tree in params.items()}


def _say(start: Start, found: Match) -> None:
    run, which = runs.locate(start.run)
    step = checkpoint.latest_step(run) if which is None else which
    taken = ["first_stage"] if start.inside else {name.split("/")[0] for name in found.matched}
    used = sorted(start.averaged.intersection(taken))
    print(
        f"starting from '{run}', step {step}: {len(found.matched)} arrays"
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


def _has(start: Start, part: str) -> bool:
    return bool(_names(start.shapes.get(part, {})))


def _some(names: list[str]) -> str:
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _names(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shapes by the names of arrays."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x.shape for path, x in leaves}


def _only(tree: Any, names: set[str], place: str) -> Any:
    """What of a tree of dicts has these names; None where nothing has."""
    if not isinstance(tree, dict):
        return tree if place in names else None
    kept = {key: _only(value, names, f"{place}/{key}") for key, value in tree.items()}
    kept = {key: value for key, value in kept.items() if value is not None}
    return kept or None


def _replaced(tree: Any, by: Any) -> Any:
    """A tree with the leaves of a smaller one in place of its own."""
    if not isinstance(tree, dict):
        return by
    return {key: _replaced(value, by[key]) if key in by else value for key, value in tree.items()}
