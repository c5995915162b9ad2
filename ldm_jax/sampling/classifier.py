"""A classifier that guides: whether it fits the model's latents, and to which classes."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ldm_jax import runs
from ldm_jax.autoencoders.latents import unscaled
from ldm_jax.conditioning.label import Labels
from ldm_jax.diffusion.guidance.classifier import classifier as guided
from ldm_jax.diffusion.guidance.classifier import log_probability
from ldm_jax.errors import InputError
from ldm_jax.sampling.generate import Guide
from ldm_jax.sections import Request, RunView, Section
from ldm_jax.settings import Finite
from ldm_jax.types import Batch, Denoise, LatentClassifier, Params, Process, Sampler


@dataclass(frozen=True)
class ClassifierGuidance(Section):
    """A classifier of noised latents that guides to --label (Dhariwal and Nichol 2021)."""

    key: ClassVar[str] = "classifier"

    needs: ClassVar = {"classifier_scale": "classifier"}

    classifier: Annotated[str | None, tyro.conf.arg(metavar="RUN")] = None
    """run of the classifier"""
    classifier_scale: Finite | None = None
    """how much it guides, 1 where not given"""

    def fill(self, request: Request, run: RunView) -> Self:
        if not self.classifier:
            return self
        check_classifier(self.classifier, run)
        scale = self.classifier_scale
        return replace(self, classifier_scale=1.0 if scale is None else scale)

    def each(self, request: Request, run: RunView) -> Batch:
        if not self.classifier:
            return {}
        scale = np.full(request.images.num, self.classifier_scale, np.float32)
        return {"guides.classes": request.labels.cycled(request), "guides.classifier_scale": scale}

    def guide(self, request: Request, run: RunView, params: Params) -> tuple[Guide | None, Params]:
        """Raises InputError for one that was trained on other latents than those of `params`."""
        if not self.classifier:
            return None, {}
        found = runs.with_weights(runs.describe_classifier(Path(self.classifier)))
        check_latents(self.classifier, found.params["first_stage"], params["first_stage"])
        own = {"classifier": found.params["classifier"]}
        return towards_classes(found.model, run.model.process), own

    def describe(self, request: Request, run: RunView) -> list[str]:
        if not self.classifier:
            return []
        return [f"classifier {self.classifier}, scale {self.classifier_scale:g}"]


@dataclass(frozen=True)
class ClassifierLabels(Labels):
    """To which classes a classifier guides."""

    has_source: ClassVar[bool] = False

    @classmethod
    def fits(cls, run: RunView) -> bool:
        return Labels not in run.sections

    def classes(self, request: Request, run: RunView) -> Any:
        found = runs.describe_classifier(Path(request.classifier.classifier))
        return found.experiment.num_classes, found.class_names

    def fill(self, request: Request, run: RunView) -> Self:
        if request.classifier.classifier:
            return super().fill(request, run)
        if self.label:
            raise InputError(self.refusal("label", str(self.label[0]), run))
        return self

    def inputs(self, request: Request, run: RunView) -> Batch:
        return {}

    def of_source(self, source: str | None, request: Request, run: RunView) -> Batch:
        return {}

    def alone(self, request: Request, i: int) -> Self:
        return super().alone(request, i) if self.label else self


def towards_classes(classifier: LatentClassifier, process: Process) -> Guide:
    """Guidance by a classifier, of params["classifier"], to given["classes"] [B] int32 by
    given["classifier_scale"] [B]."""

    def guide(denoise: Denoise, params: Params, given: Batch, solver: Sampler) -> Denoise:
        network = partial(classifier.network, params["classifier"])
        log_p = log_probability(network, process, given["classes"])
        return guided(denoise, process, log_p, given["classifier_scale"])

    return guide


def check_classifier(path: str, run: RunView) -> None:
    """Raises InputError for a classifier of other noise, latents or classes than the model's."""
    found = runs.describe_classifier(Path(path))
    ours, theirs = run.experiment, found.experiment
    remedy = f"expected one trained with --diffusion-run {run.run}"
    if not same_noise(run.model.process, found.model.process):
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
            f"classifier '{path}' reads other latents, of {kinds[0]}{also} (the model's are of "
            f"{kinds[1]}): {remedy}"
        )
    if Labels not in run.sections:
        return
    counts = theirs.num_classes, run.condition(Labels).num_classes
    names = found.class_names, run.class_names
    if counts[0] != counts[1] or names[0] != names[1]:
        a, b = (
            f"{count} ({', '.join(each) or 'without names'})"
            for count, each in zip(counts, names, strict=True)
        )
        raise InputError(
            f"classifier '{path}' tells other classes apart, {a}, than the model draws, {b}: "
            f"{remedy}, on the same classes"
        )


def same_noise(a: Process, b: Process) -> bool:
    """Whether two processes are one."""
    t = jnp.arange(a.T + 1.0)
    return a.T == b.T and np.allclose(a.alpha_sigma(t), b.alpha_sigma(t), rtol=1e-4)


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
