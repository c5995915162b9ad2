"""Training of a diffusion model, after that of its first stage."""

import functools
from dataclasses import replace
from pathlib import Path

import jax

from ldm_jax import checkpoint, runs
from ldm_jax.autoencoders.latents import factor
from ldm_jax.conditioning import compose
from ldm_jax.data import latents
from ldm_jax.errors import InputError
from ldm_jax.evaluate import in_training
from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.runs import init_from
from ldm_jax.train_step import diffusion
from ldm_jax.train_step.latent_scale import measure_scale
from ldm_jax.training import prior, shown
from ldm_jax.training.checked import check_experiment, check_frozen
from ldm_jax.training.first_stage import first_stage_task
from ldm_jax.training.fitted import find_tokenizers, inherit
from ldm_jax.training.on_latents import check_encoded, check_latents, reading_latents
from ldm_jax.training.shown import Parts
from ldm_jax.training.source import open_source
from ldm_jax.training.task import Frozen, Task
from ldm_jax.types import Array, DiffusionModel, FirstStage, Params


def diffusion_task(
    experiment: Experiment,
    folder: Path,
    dry_run: bool = False,
    start: init_from.Start | None = None,
) -> Task:
    """The training of a diffusion model, and before it that of its first stage, if it has no run.

    Args:
        dry_run: whether weights that it would start from may be absent.
    """
    experiment, first_run = _with_first_stage(experiment, folder, start)
    first = experiment.first_stage
    experiment.check()
    if latents.is_latents(experiment.data.path or "") and not first.run:
        raise InputError(
            f"data.path '{experiment.data.path}' holds latents: expected --first-stage.run RUN, "
            "the first stage that encoded them"
        )
    before = ()
    if not first.run and first.model.build().parts:  # or there is none to train
        before = ((first_stage_task(first, first_run, dry_run, prefix="first_stage."), first_run),)
    check_experiment(experiment)
    parts = _opened(experiment, folder, dry_run, start)
    experiment, source, tokenizers, model, reading = parts
    new = not dry_run and checkpoint.latest_step(folder) is None
    given = compose.from_file(experiment.conditions, start.experiment.conditions if start else ())
    published = compose.published(experiment.conditions) if new and given else None
    if new:
        check_frozen(model, start, published)
    distance = in_training.prepare(experiment.evaluation, experiment.data, source.records)
    helpers = functools.partial(diffusion.init_helpers, model.process, experiment.loss)
    shapes = {**runs.model_shapes(model), **jax.eval_shape(helpers)}
    generate, examples = shown.generate(experiment, model), shown.examples(parts)
    batch_size, accumulate = experiment.data.batch_size, experiment.train.accumulate
    return Task(
        name="diffusion",
        experiment=experiment,
        source=source,
        tokenizers=tokenizers,
        keys=(*reading.conditioner.keys, *prior.keys(experiment)),
        init=lambda key: {**model.init(key), **helpers()},
        shapes=shapes,
        objective=diffusion.diffusion_objective(
            reading,
            experiment.loss,
            experiment.drop,
            batch_size,
            accumulate,
            apart=experiment.apart,
            prior=prior.weight(experiment),
        ),
        frozen=_frozen(parts, first_run, start, new, published)._replace(
            names=("first_stage", *["conditioner"] * given)
        ),
        before=before,
        sample=shown.samples(parts, generate, examples) if model.first_stage.images else None,
        measurement=shown.measurement(parts, distance, folder, generate, examples),
        tokens=_tokens(model, shapes),
    )


def _with_first_stage(
    experiment: Experiment, folder: Path, start: init_from.Start | None
) -> tuple[Experiment, Path]:
    """The experiment with all of its first stage filled in, and where that is or will be."""
    if start and not experiment.first_stage.run:
        given = replace(experiment.first_stage, run=str(start.run))
        experiment = replace(experiment, first_stage=given)
    first = inherit(experiment.first_stage, experiment.data)
    first_run = Path(first.run or folder / "first_stage")
    if first.run:
        first = runs.load_first_stage_config(first_run)
    return replace(experiment, first_stage=first), first_run


def _opened(
    experiment: Experiment, folder: Path, dry_run: bool, start: init_from.Start | None
) -> Parts:
    """Opens the data, fills in what they determine, and makes the model."""
    source = open_source(experiment.data)
    conditions = tuple(
        one.fitted(source.info, f"conditions.{i}.") for i, one in enumerate(experiment.conditions)
    )
    experiment = replace(experiment, conditions=conditions)
    pixels = experiment.first_stage.model.factor
    derive = {name: x for c in conditions for name, x in c.derive(pixels).items()}
    source = source._replace(derive=derive)
    source = prior.with_class(source, experiment, folder, start and start.run, dry_run)
    tokenizers = find_tokenizers(experiment, folder, source, start)
    model = experiment.build(tokenizers)
    if isinstance(source.records, latents.Source):
        check_latents(source, experiment, model)
    return Parts(experiment, source, tokenizers, model, reading_latents(source, model))


def _frozen(
    parts: Parts,
    first_run: Path,
    start: init_from.Start | None,
    new: bool,
    published: Params | None,
) -> Frozen:
    """The first stage with the scale of its latents, and published weights of the conditioner.

    Args:
        new: whether training begins, so that published weights of the first stage are read.
    """
    experiment, source, tokenizers, model, reading = parts
    untrained = not (experiment.first_stage.run or model.first_stage.parts)
    encoder = experiment.first_stage.model.published() if new and untrained else {}

    def read(params: Params, key: Array) -> Params:
        first_stage = (
            {**model.first_stage.init(key), **encoder}
            if untrained
            else runs.load_first_stage(first_run, model.first_stage)
        )
        found = {"first_stage": first_stage}
        if published is not None:
            found["conditioner"] = compose.with_published(params["conditioner"], published)
        check({**params, **found})
        if start and first_run == start.run:
            print("its first stage and the scale of its latents are taken along")
        else:
            found["first_stage"] |= _scale(parts, reading.first_stage, found["first_stage"], key)
        return found

    def check(params: Params) -> None:
        check_encoded(source, model, params, tokenizers)

    return Frozen(("first_stage",), read, check)


def _scale(parts: Parts, first_stage: FirstStage, params: Params, key: Array) -> Params:
    """The shift and the scale of the latents: known, or measured on images as in training."""
    kind = parts.experiment.latent_scale
    if isinstance(kind, str) and first_stage.images and not first_stage.parts:
        return {}  # pixels are of one scale
    if not isinstance(kind, str):
        return factor(first_stage.channels, kind)
    return measure_scale(first_stage, params, parts.batches(()), key, kind)


def _tokens(model: DiffusionModel, shapes: Params) -> int:
    """How many tokens of a condition go with each image; 0 where there are none."""
    cond = jax.eval_shape(lambda params: model.condition(params, model.conditioner.null(1)), shapes)
    return 0 if cond.tokens is None else cond.tokens.shape[1]
