"""Training of an adapter of a diffusion model, whose weights stay in their own run."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax

from ldm_jax import runs
from ldm_jax.adapters.adapter import Adapters, adapted, init_adapters, merged
from ldm_jax.adapters.settings import Base
from ldm_jax.errors import InputError
from ldm_jax.evaluate import in_training
from ldm_jax.experiments.adapter import AdapterExperiment
from ldm_jax.runs import init_from
from ldm_jax.runs.adapters import NAME
from ldm_jax.runs.digest import model_digest
from ldm_jax.train_step import diffusion
from ldm_jax.training import prior, shown
from ldm_jax.training.checked import open_images
from ldm_jax.training.fitted import inherited
from ldm_jax.training.task import Frozen, Task
from ldm_jax.types import Array, Params


def adapter_task(
    experiment: AdapterExperiment,
    folder: Path,
    dry_run: bool = False,
    start: init_from.Start | None = None,
) -> Task:
    """The training of an adapter of a run.

    Args:
        dry_run: whether the base's weights are left unread.
    """
    if start:
        raise InputError(
            "--init-from is given to the training of an adapter, which starts from its base: leave "
            "it out; the same command goes on with a run"
        )
    described, experiment = _of_base(experiment)
    settings = experiment.adapter.found()
    experiment = replace(experiment, adapter=settings)
    base = settings.read(Base(described.experiment, described.model, described.tokenizers))
    settings.check(base)
    source = open_images(experiment)
    for i, condition in enumerate(base.experiment.conditions):
        condition.fitted(source.info, f"conditions.{i}.")
    derive = {n: x for c in base.experiment.conditions for n, x in c.derive(base.factor).items()}
    source = source._replace(derive={**derive, **settings.derive(base.factor)})
    source = prior.with_class(source, experiment, folder, described.run, dry_run)
    adapters = {NAME: settings.build(base)}
    of_base = runs.model_shapes(described.model)
    drawn = jax.eval_shape(functools.partial(init_adapters, adapters), jax.random.key(0), of_base)
    model = adapted(base.model, adapters)
    parts = shown.Parts(experiment, source, base.tokenizers, model, model)
    params = {} if dry_run else runs.with_weights(described).params
    if params:
        experiment = replace(experiment, base_digest=model_digest(params))
    helpers = functools.partial(diffusion.init_helpers, model.process, experiment.loss)
    distance = in_training.prepare(experiment.evaluation, experiment.data, source.records)
    generate, examples = _generate(parts, adapters), shown.examples(parts)
    return Task(
        name="adapter",
        experiment=experiment,
        source=source,
        tokenizers=base.tokenizers,
        keys=(*model.conditioner.keys, *settings.fields, *prior.keys(experiment)),
        init=lambda key: helpers(),
        shapes={**of_base, "adapters": drawn, **jax.eval_shape(helpers)},
        objective=diffusion.diffusion_objective(
            base.model,
            experiment.loss,
            experiment.drop,
            experiment.data.batch_size,
            experiment.train.accumulate,
            adapters,
            _apart(experiment, base.model.conditioner.droppable, adapters[NAME].dropped),
            prior.weight(experiment),
        ),
        frozen=Frozen(tuple(of_base), _read(params, adapters), elsewhere=True),
        sample=shown.samples(parts, generate, examples),
        measurement=shown.measurement(parts, distance, folder, generate, examples),
    )


def _apart(
    experiment: AdapterExperiment, of_base: tuple[str, ...], own: tuple[str, ...]
) -> dict[tuple[str, ...], float]:
    """What is dropped by itself, and how often."""
    shares = {own: experiment.drop_own, of_base: experiment.drop_base}
    return {names: share for names, share in shares.items() if names and share}


def _of_base(experiment: AdapterExperiment) -> tuple[runs.Trained, AdapterExperiment]:
    """The base, and the experiment with what it takes from it."""
    if not experiment.base:
        raise InputError(
            "base is not set: expected the run of the diffusion model that the adapter is for "
            "(--base RUN)"
        )
    described = runs.describe(Path(experiment.base))
    there = described.experiment
    data = inherited(experiment.data, there.data.seen_from(described.run))
    sampling = experiment.sampling or there.sampling
    return described, replace(experiment, data=data, sampling=sampling)


def _read(params: Params, adapters: Adapters) -> Callable[[Params, Array], Params]:
    """The base's weights, and where a run has none yet those with which its adapter begins."""

    def read(there: Params, key: Array) -> Params:
        if "adapters" in there:
            return params
        return {**params, "adapters": init_adapters(adapters, key, params)}

    return read


def _generate(parts: shown.Parts, adapters: Adapters) -> Callable:
    """(params, inputs, seeds) -> images."""
    generate = shown.generate(parts.experiment, parts.model)
    return lambda params, inputs, seeds: generate(merged(adapters, params), inputs, seeds)
