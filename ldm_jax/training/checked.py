"""What is refused before anything is computed."""

import re
from pathlib import Path

import jax

from ldm_jax import checkpoint, runs
from ldm_jax.data import latents
from ldm_jax.errors import InputError
from ldm_jax.experiments.train import check_batch, check_devices
from ldm_jax.runs import init_from
from ldm_jax.runs.record import check_record
from ldm_jax.runtime.sharding import named
from ldm_jax.train_step.optimizer import is_trained
from ldm_jax.training.loop import with_positions
from ldm_jax.training.record import check_best
from ldm_jax.training.source import Source, open_source
from ldm_jax.training.task import Task
from ldm_jax.types import Batch, DiffusionModel, Params


def check_experiment(experiment: runs.AnyExperiment, prefix: str = "") -> None:
    """Raises InputError where the devices cannot train it, or not on its batches.

    Args:
        prefix: of the names of its settings.
    """
    check_devices(experiment.train, f"{prefix}train")
    check_batch(experiment.data.batch_size, f"{prefix}data.batch_size", experiment.train)


def open_images(experiment: runs.AnyExperiment, prefix: str = "") -> Source:
    """Opens the images of an experiment whose settings agree; InputError for latents."""
    experiment.check(prefix)
    check_experiment(experiment, prefix)
    data = experiment.data
    source = open_source(data)
    if isinstance(source.records, latents.Source):
        raise InputError(
            f"{prefix}data.path '{data.path}' holds latents: expected the images themselves"
        )
    return source


def check_best_is_written(task: Task, batch: Batch) -> None:
    """Raises InputError where train.best is nothing that will be written; nothing is computed."""
    step, begin = task.make_step()

    def alone(state, batch, key):
        return step(state, {}, batch, key, lambda x: x, lambda x: x)

    state, key = jax.eval_shape(begin, task.shapes), jax.eval_shape(lambda: jax.random.key(0))
    _, metrics = jax.eval_shape(alone, state, with_positions(batch), key)
    names = [*metrics, *task.measurement.names]
    check_best(task.experiment.train.best, names, task.prefix)


def check_train_only(
    name: str, experiment: runs.AnyExperiment, params: Params, trained: tuple[str, ...]
) -> None:
    """Prints how much of the trained parts is trained; raises InputError where nothing would be.

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
        names = [*named(parts)]
        raise InputError(
            f"optim.train_only is '{wanted}': expected to find it in the name of an array, such as "
            f"{names[0]} or {names[-1]}"
        )
    total = sum(x.size for _, x in leaves)
    print(
        f"{name}: trains {sum(found):,} of {total:,} values, {len(found)} of {len(leaves)} arrays "
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


def check_goes_on(folder: Path, task: Task) -> None:
    """Raises InputError unless the task is what trained the newest checkpoint."""
    if checkpoint.latest_step(folder) == 0:
        raise InputError(
            f"run '{folder}' holds weights from elsewhere and no state of training: expected "
            f"another --workdir, where --init-from {folder} starts from its weights, or "
            f"--first-stage.run {folder} trains a diffusion model on its latents"
        )
    info, keys = task.source.info, task.keys
    classes, objects = info.class_names * ("label" in keys), info.object_names * ("boxes" in keys)
    check_record(folder, task.experiment, classes, objects)
    state = jax.eval_shape(task.make_step()[1], task.shapes)
    checkpoint.check_architecture(folder, checkpoint.parts(task.stored(state)))
