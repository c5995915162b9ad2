"""Training of a diffusion model, after that of its first stage."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from tokenizers import Tokenizer

from ldm_jax import build, checkpoint, checks, runs
from ldm_jax.autoencoders.latents import factor
from ldm_jax.config import BERTText, Experiment
from ldm_jax.data import image_files, latents, pipeline
from ldm_jax.diffusion import sampling
from ldm_jax.errors import InputError
from ldm_jax.evaluate import in_training
from ldm_jax.experiments.train import check_batch, check_devices
from ldm_jax.runs import init_from
from ldm_jax.runtime import hosts
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling.generate import make_generate
from ldm_jax.train_step import diffusion
from ldm_jax.train_step.latent_scale import measure_scale
from ldm_jax.train_step.state import Objective, averaged_params
from ldm_jax.training.checked import check_architecture, check_frozen, check_kept, check_train_only
from ldm_jax.training.first_stage import plan_first_stage, prepare_first_stage, run_first_stage
from ldm_jax.training.fitted import find_tokenizer, fit_condition, inherit, reads_alike
from ldm_jax.training.loop import fit
from ldm_jax.training.on_latents import check_captions, check_latents, of_latents, reading_latents
from ldm_jax.training.source import Source, batches_of, look, open_source
from ldm_jax.training.steps import announce, is_finished, make_step, print_plan
from ldm_jax.types import Array, DiffusionModel, FirstStage, Params, TrainState


def train_diffusion(
    experiment: Experiment, run: Path, dry_run: bool, start: init_from.Start | None = None
) -> None:
    """Checks all of a diffusion model's training, then does it, its first stage's before."""
    if start and not experiment.first_stage.run:
        given = replace(experiment.first_stage, run=str(start.run))
        experiment = replace(experiment, first_stage=given)
    first = inherit(experiment.first_stage, experiment.data)
    first_run = Path(first.run or run / "first_stage")
    if first.run:
        first = runs.load_first_stage_config(first_run)
    experiment = replace(experiment, first_stage=first)
    checks.check_diffusion(experiment)
    if latents.is_latents(experiment.data.path or "") and not first.run:
        raise InputError(
            f"data.path '{experiment.data.path}' holds latents: expected --first-stage.run RUN, "
            "the first stage that encoded them"
        )
    first_source = None
    if not first.run and build.build_first_stage(first.model).parts:  # or there is none to train
        first_source = prepare_first_stage(first, first_run, "first_stage.")
    check_devices(experiment.train, "train")
    check_batch(experiment.data.batch_size, "data.batch_size", experiment.train)
    source = open_source(experiment.data)
    experiment = replace(experiment, condition=fit_condition(experiment.condition, source.info))
    factor = build.build_first_stage(first.model).factor
    told = (experiment.condition, experiment.beside)
    derive = {name: x for c in told for name, x in build.build_derive(c, factor).items()}
    source = source._replace(derive=derive)
    tokenizer = find_tokenizer(experiment, run, source, start)
    model = build.build_model(experiment, tokenizer)
    of_file = isinstance(experiment.condition, BERTText)
    of_file = of_file and not reads_alike(start, experiment.condition)
    if start and of_file:
        shapes = {part: tree for part, tree in start.shapes.items() if part != "conditioner"}
        start = start._replace(shapes=shapes)
    if isinstance(source.records, latents.Source):
        check_latents(source, experiment, model)
    if start:
        init_from.match(start, jax.eval_shape(lambda: _trained_parts(experiment, model)))
    published = None
    if not dry_run and checkpoint.latest_step(run) is None:
        published = build.build_published(experiment.condition) if of_file else None
        check_frozen(model, start, published)
    helpers = jax.eval_shape(lambda: _init_helpers(experiment, model))
    params = {**runs.model_shapes(model), **helpers}
    check_train_only("diffusion", experiment, params, _objective(experiment, model).trained)
    if checkpoint.latest_step(run) is not None:
        check_architecture(run, params, experiment, _objective(experiment, model))
    best = experiment.train.best is not None
    reading = reading_latents(source, model)
    keys = reading.conditioner.keys
    batch = look(experiment.data, source, keys, tokenizer, dry_run or best)
    distance = in_training.prepare(experiment.evaluation, experiment.data, source.records)
    objective = _objective(experiment, reading)
    if best:
        check_kept(experiment, objective, params, batch, (distance.column,) if distance else ())
    in_buckets = pipeline.in_buckets(experiment.data, source.records)
    if in_buckets and hosts.is_first():
        print(in_buckets.describe(), flush=True)
    if dry_run:
        if first_source:
            plan_first_stage(first, first_source)
        print_plan("diffusion", experiment, objective, params, batch)
        return
    if first_source and not is_finished("first stage", first_run, first.train.steps):
        run_first_stage(first, first_run, first_source)
    if not is_finished("diffusion", run, experiment.train.steps):
        runs.write(run, experiment, tokenizer, source.info)
        _run_diffusion(
            experiment, run, first_run, source, model, tokenizer, start, distance, published
        )


def _run_diffusion(
    experiment: Experiment,
    run: Path,
    first_run: Path,
    source: Source,
    model: DiffusionModel,
    tokenizer: Tokenizer | None,
    start: init_from.Start | None = None,
    distance: in_training.Distance | None = None,
    published: Params | None = None,
) -> None:
    init_key, step_key, scale_key = jax.random.split(jax.random.key(experiment.seed), 3)
    spread = devices(experiment.train.devices, experiment.train.mesh)
    params = spread.make(lambda key: _trained_parts(experiment, model, key), init_key)
    if experiment.first_stage.run or model.first_stage.parts:
        first_stage = runs.load_first_stage(first_run, model.first_stage)
    else:
        first_stage = model.first_stage.init(init_key)
    reading = of_latents(source, model, first_stage)
    if checkpoint.latest_step(run) is None:  # or else all of it is in the checkpoint
        if published is not None:
            params["conditioner"] = {**params["conditioner"], **published}
        if start:
            of_file = () if published is None else ("conditioner",)
            wanted = {part: tree for part, tree in params.items() if part not in of_file}
            params |= init_from.fill(start, wanted)
            if first_run == start.run:
                print("its first stage and the scale of its latents are taken along")
        if start is None or first_run != start.run:
            given = {**params, "first_stage": first_stage}
            first_stage |= _scale(experiment, source, reading.first_stage, given, scale_key)
    params["first_stage"] = first_stage
    if reading.conditioner is not model.conditioner:
        resumes = checkpoint.latest_step(run) is not None
        frozen = checkpoint.read_part(run, "params", "conditioner") if resumes else None
        check_captions(source, frozen or params["conditioner"], tokenizer)
    objective = _objective(experiment, reading)
    step, begin = make_step(experiment, objective)
    state = spread.make(begin, spread.place(params))
    announce("diffusion", experiment, spread.summary(state), _tokens(model))
    keys = model.conditioner.keys
    others = batches_of(experiment.data, source, experiment.seed + 1, keys, tokenizer, True)
    example = next(others)
    n = min(experiment.train.num_samples, len(example["image"]))
    generate = _generate(experiment, model)
    measurement = None
    if distance:
        conditions = _conditions([example], others, keys, distance.asked.num)
        measurement = in_training.distance_of_samples(
            distance, run, generate, conditions, experiment.train
        )
    fit(
        "diffusion",
        run,
        experiment.train,
        spread,
        step,
        state,
        batches_of(experiment.data, source, experiment.seed, reading.conditioner.keys, tokenizer),
        step_key,
        picture=_samples(generate, {key: example[key][:n] for key in keys}, n),
        measurement=measurement,
    )


def _trained_parts(
    experiment: Experiment, model: DiffusionModel, key: Array | None = None
) -> Params:
    """All parts of params but the first stage."""
    params = model.init(jax.random.key(0) if key is None else key)
    return params | _init_helpers(experiment, model)


def _init_helpers(experiment: Experiment, model: DiffusionModel) -> Params:
    return diffusion.init_helpers(model.process, experiment.loss)


def _objective(experiment: Experiment, model: DiffusionModel) -> Objective:
    drop = getattr(experiment.condition, "drop", 0.0)
    batch_size = experiment.data.batch_size
    parts = experiment.train.accumulate
    return diffusion.diffusion_objective(model, experiment.loss, drop, batch_size, parts)


def _scale(
    experiment: Experiment, source: Source, first_stage: FirstStage, params: Params, key: Array
) -> Params:
    """The shift and the scale of the latents: known, or measured on images as in training."""
    kind = experiment.latent_scale
    if isinstance(kind, str) and not first_stage.parts:
        return {}  # pixels are of one scale
    if not isinstance(kind, str):
        return factor(first_stage.channels, kind)
    batches = batches_of(experiment.data, source, experiment.seed + 1, whole=True)
    return measure_scale(first_stage, params["first_stage"], batches, key, kind)


def _tokens(model: DiffusionModel) -> int:
    """How many tokens of a condition go with each image; 0 where there are none."""
    shapes = runs.model_shapes(model)
    told = jax.eval_shape(lambda params: model.condition(params, model.conditioner.null(1)), shapes)
    return 0 if told.tokens is None else told.tokens.shape[1]


def _conditions(held: list[dict], batches, keys: Sequence[str], num: int) -> dict:
    """What the conditioner reads of `num` examples, each [num, ...], of these batches and the next
    ones."""
    if not keys:
        return {}
    while sum(len(batch["image"]) for batch in held) < num:
        held.append({key: x for key, x in next(batches).items() if key in (*keys, "image")})
    return {key: np.concatenate([batch[key] for batch in held])[:num] for key in keys}


def _generate(experiment: Experiment, model: DiffusionModel) -> Callable:
    """(params, inputs, seeds) -> images, drawn as the config has it."""
    s = experiment.sampling
    generate = make_generate(model, build.build_sampler(s.sampler), experiment.data.image_size)
    times, options = sampling.padded_times(s, model.process), sampling.arguments(s)
    return lambda params, inputs, seeds: generate(params, inputs, seeds, times, s.guidance, options)


def _samples(generate: Callable, inputs: dict, n: int) -> Callable:
    def picture(state: TrainState) -> np.ndarray:
        seeds = np.arange(n, dtype=np.uint32)
        images = generate(averaged_params(state), inputs, seeds)
        return image_files.grid(image_files.to_uint8(images))

    return picture
