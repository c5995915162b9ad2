"""What is refused before anything is computed."""

import re
from collections.abc import Sequence
from pathlib import Path

import jax

from ldm_jax import checkpoint, runs
from ldm_jax.errors import InputError
from ldm_jax.runs import init_from
from ldm_jax.train_step.optimizer import is_trained
from ldm_jax.train_step.state import Objective
from ldm_jax.training.loop import check_best, with_positions
from ldm_jax.training.steps import make_step
from ldm_jax.types import DiffusionModel, Params


def check_kept(
    experiment: runs.AnyExperiment,
    objective: Objective,
    params: Params,
    batch: dict,
    measured: Sequence[str] = (),
    prefix: str = "",
) -> None:
    """Raises InputError where train.best is nothing that will be written; nothing is computed.

    Args:
        params: their shapes.
        measured: names beside those of the metrics of a step.
    """
    step, begin = make_step(experiment, objective)

    def alone(state, batch, key):
        return step(state, batch, key, lambda x: x, lambda x: x)

    state, key = jax.eval_shape(begin, params), jax.eval_shape(lambda: jax.random.key(0))
    _, metrics = jax.eval_shape(alone, state, with_positions(batch), key)
    check_best(experiment.train.best, [*metrics, *measured], prefix)


def check_train_only(
    name: str, experiment: runs.AnyExperiment, params: Params, trained: tuple[str, ...]
) -> None:
    """Says how much of the parts that train does so; InputError where nothing would.

    Args:
        params: shapes of the parts.
    """
    wanted = experiment.optim.train_only
    if wanted is None:
        return
    try:
        re.compile(wanted)
    except re.error as error:
        raise InputError(
            f"optim.train_only is '{wanted}': expected a regular expression ({error})"
        ) from error
    parts = {part: params[part] for part in trained}
    leaves = jax.tree_util.tree_leaves_with_path(parts)
    found = [x.size for path, x in leaves if is_trained(experiment.optim, path)]
    if not found:
        names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
        raise InputError(
            f"optim.train_only is '{wanted}': expected to find it in the name of an array, such as "
            f"{names[0]} or {names[-1]}"
        )
    total = sum(x.size for _, x in leaves)
    print(
        f"{name}: trains {sum(found):,} of {total:,} numbers, {len(found)} of {len(leaves)} arrays "
        f"(optim.train_only '{wanted}')"
    )


def check_frozen(
    model: DiffusionModel, start: init_from.Start | None, published: Params | None = None
) -> None:
    """Raises InputError where a conditioner that is not trained would stay as it was drawn.

    Args:
        published: its weights, from a file.
    """
    given = published is not None or (start and "conditioner" in start.shapes)
    if model.conditioner.trained or given:
        return
    raise InputError(
        "the conditioner is frozen and has no weights: expected --init-from RUN, of a model that "
        "has one, such as Stable Diffusion converted by scripts/convert.py"
    )


def check_architecture(
    run: Path,
    params: Params,
    experiment: runs.AnyExperiment,
    objective: Objective,
) -> None:
    """Raises InputError unless training could go on from the newest checkpoint."""
    if checkpoint.latest_step(run) == 0:
        raise InputError(
            f"run '{run}' holds weights from elsewhere and no state of training: expected another "
            f"--workdir, where --init-from {run} goes on from its weights, or --first-stage.run "
            f"{run} trains a diffusion model on its latents"
        )
    state = jax.eval_shape(make_step(experiment, objective)[1], params)
    checkpoint.check_architecture(run, checkpoint.parts(state))
