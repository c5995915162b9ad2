"""A classifier that guides: whether it can judge the model's latents, and what it is told."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import runs
from ldm_jax.autoencoders.latents import unscaled
from ldm_jax.config import Label
from ldm_jax.errors import InputError
from ldm_jax.types import Params, Process


def describe_classifier(
    path: str | None, scale: float | None, trained: runs.Trained
) -> runs.TrainedClassifier | None:
    """The classifier at `path`, where one is given, without its weights.

    Raises:
        InputError: a scale for no classifier; one of other noise, latents or classes.
    """
    if not path:
        if scale is not None:
            raise InputError(f"--classifier-scale is {scale:g}: expected --classifier RUN, too")
        return None
    if scale is not None and not math.isfinite(scale):
        raise InputError(f"--classifier-scale is {scale}: expected a number, such as 1")
    found = runs.describe_classifier(Path(path))
    ours, theirs = trained.experiment, found.experiment
    remedy = f"expected one trained with --diffusion-run {trained.run}"
    if not same_noise(trained.model.process, found.model.process):
        a, b = (f"{x.diffusion.schedule} of {x.diffusion.steps} steps" for x in (theirs, ours))
        raise InputError(
            f"classifier '{path}' knows the noise of another process ({a}; the model's is {b}): "
            f"{remedy}"
        )
    sizes = [(x.data.image_size, x.first_stage.model) for x in (theirs, ours)]
    if sizes[0] != sizes[1]:
        kinds = [f"{size} pixels through a {type(model).__name__}" for size, model in sizes]
        also = " of other settings" if kinds[0] == kinds[1] else ""
        raise InputError(
            f"classifier '{path}' sees other latents, of {kinds[0]}{also} (the model's are of "
            f"{kinds[1]}): {remedy}"
        )
    if isinstance(ours.condition, Label):
        counts = theirs.num_classes, ours.condition.num_classes
        if counts[0] != counts[1] or found.class_names != trained.class_names:
            a, b = (
                f"{count} ({', '.join(names) or 'without names'})"
                for count, names in zip(
                    counts, (found.class_names, trained.class_names), strict=True
                )
            )
            raise InputError(
                f"classifier '{path}' tells other classes apart, {a}, than the model draws, {b}: "
                f"{remedy}, on the same classes"
            )
    return found


def same_noise(a: Process, b: Process) -> bool:
    """Whether two processes are one."""
    if a.T != b.T:
        return False
    t = jnp.arange(a.T + 1.0)
    return all(
        np.allclose(x, y, rtol=1e-4)
        for x, y in zip(a.alpha_sigma(t), b.alpha_sigma(t), strict=True)
    )


def check_latents(path: str, theirs: Params, ours: Params) -> None:
    """Raises InputError unless two first stages of one shape give the same latents.

    Scales that were measured twice, and differ by less than 2 %, are taken for the same.
    """
    channels = np.eye(len(ours["scale"]))
    ends = [np.asarray(unscaled(p, z)) for p in (theirs, ours) for z in (0.0 * channels, channels)]
    sizes = np.abs(1.0 / np.asarray(ours["scale"]))
    scaled_so = all(np.all(np.abs(ends[i] - ends[i + 2]) <= 0.02 * sizes) for i in (0, 1))
    weights = [{k: p[k] for k in p if k not in ("shift", "scale")} for p in (theirs, ours)]
    leaves = zip(*(jax.tree.leaves(w) for w in weights), strict=True)
    if not (scaled_so and all(np.array_equal(x, y) for x, y in leaves)):
        what = "another first stage" if scaled_so else "latents of another scale"
        raise InputError(
            f"classifier '{path}' was trained on {what}: expected one trained with "
            "--diffusion-run and this run"
        )
