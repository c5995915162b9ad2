"""Training runs: what an experiment describes, in a folder; the first stage before the second."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tokenizers import Tokenizer

from ldm_jax import build, checkpoint, checks, cli, hosts, pictures, runs, sampling, starting
from ldm_jax.autoencoders.latents import factor, remembered, scaled
from ldm_jax.caching import caption_digest, digest
from ldm_jax.conditioning import clip_tokenizer
from ldm_jax.conditioning import tokenizer as tokens
from ldm_jax.conditioning.remembered import can_be_remembered
from ldm_jax.conditioning.remembered import remembered as remembered_captions
from ldm_jax.config import (
    AutoencoderLoss,
    ClassifierExperiment,
    CLIPText,
    Data,
    Depth,
    Experiment,
    FirstStageExperiment,
    Label,
    Layout,
    Text,
)
from ldm_jax.convert.lpips import load_lpips
from ldm_jax.data import latents, pipeline
from ldm_jax.errors import InputError
from ldm_jax.evaluate import in_training
from ldm_jax.pipelines.generate import make_generate
from ldm_jax.sharding import check_batch, check_devices, devices
from ldm_jax.train import autoencoder_step, diffusion_step, plan, power_ema
from ldm_jax.train.classifier_step import classifier_objective
from ldm_jax.train.loop import Measurement, check_best, fit, with_positions
from ldm_jax.train.optim import is_trained, optimizer
from ldm_jax.train.scale import measure_scale
from ldm_jax.train.state import Objective, averaged_params, make_train_step, new_state
from ldm_jax.types import Array, FirstStage, LatentDiffusion, Params, TrainState


class Source(NamedTuple):
    """Opened data: records, and what is known of them.

    perceptual: the weights of LPIPS for a first stage that is to begin with them
    derive:     what conditions are made of, see `pipeline.batches`
    held_out:   what a first stage is measured on while it trains, if it is
    """

    records: object
    info: pipeline.DataInfo
    perceptual: Params | None = None
    derive: Mapping[str, pipeline.Derive] = pipeline.NOTHING
    held_out: object = None


def inherit(first_stage: FirstStageExperiment, data: Data) -> FirstStageExperiment:
    """The first stage with the second stage's data in every field left at its default.

    Where the first stage names images of its own, it shares the image size alone.
    """
    return replace(first_stage, data=_inherited(first_stage.data, data))


def _inherited(own: Data, data: Data) -> Data:
    default = Data()
    names = ("image_size",) if own.path else (field.name for field in fields(Data))
    filled = {n: getattr(data, n) for n in names if getattr(own, n) == getattr(default, n)}
    return replace(own, **filled)


def train(
    experiment: runs.AnyExperiment,
    run: Path,
    dry_run: bool = False,
    init_from: Path | None = None,
    partial: bool = False,
) -> None:
    """Trains what the experiment describes in the folder `run`, or goes on with it.

    Args:
        init_from: a run whose weights to start from, see `starting`; what was begun goes on. A
            diffusion model takes its first stage and the scale of its latents along, unless
            first_stage.run says another, and its tokenizer.
        partial: take what matches.

    Raises:
        InputError: bad input, found before anything is written.
    """
    cli.check_folder(run, "--workdir")
    checks.check_ranges(experiment)
    start = starting.start_from(init_from, experiment, partial) if init_from else None
    if isinstance(experiment, FirstStageExperiment):
        source = _prepare_first_stage(experiment, run, start=start)
        if dry_run:
            _plan_first_stage(experiment, source)
        elif not _finished("first stage", run, experiment.train.steps):
            _train_first_stage(experiment, run, source, start)
        return
    if isinstance(experiment, ClassifierExperiment):
        _train_classifier(experiment, run, dry_run, start)
        return
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
    first_source = None if first.run else _prepare_first_stage(first, first_run, "first_stage.")
    check_devices(experiment.train, "train")
    check_batch(experiment.data.batch_size, "data.batch_size", experiment.train)
    source = _open(experiment.data)
    if isinstance(experiment.beside or experiment.condition, Depth):
        raise InputError(
            "the model is told depth, of which data here have no maps: expected another condition "
            "(a converted model of depth can be drawn from)"
        )
    experiment = replace(experiment, condition=_fit_condition(experiment.condition, source.info))
    derive = build.build_derive(experiment.condition) | build.build_derive(experiment.beside)
    source = source._replace(derive=derive)
    tokenizer = _tokenizer(experiment, run, source, start)
    model = build.build_model(experiment, tokenizer)
    if isinstance(source.records, latents.Source):
        _check_latents(source, experiment, model)
    if start:
        starting.match(start, jax.eval_shape(lambda: _trained_parts(experiment, model)))
    if not dry_run and checkpoint.latest_step(run) is None:
        _check_frozen(model, start)
    helpers = jax.eval_shape(lambda: _init_helpers(experiment, model))
    params = {**runs.model_shapes(model), **helpers}
    _check_train_only("diffusion", experiment, params, _objective(experiment, model).trained)
    if checkpoint.latest_step(run) is not None:
        _check_architecture(run, params, experiment, _objective(experiment, model))
    best = experiment.train.best is not None
    reading = _reading(source, model)
    keys = reading.conditioner.keys
    batch = _look(experiment.data, source, keys, tokenizer, dry_run or best)
    distance = in_training.prepare(experiment.evaluation, experiment.data, source.records)
    objective = _objective(experiment, reading)
    if best:
        _check_best(experiment, objective, params, batch, (distance.column,) if distance else ())
    if dry_run:
        if first_source:
            _plan_first_stage(first, first_source)
        _plan("diffusion", experiment, objective, params, batch)
        return
    if first_source and not _finished("first stage", first_run, first.train.steps):
        _train_first_stage(first, first_run, first_source)
    if not _finished("diffusion", run, experiment.train.steps):
        runs.write(run, experiment, tokenizer, source.info)
        _train_diffusion(experiment, run, first_run, source, model, tokenizer, start, distance)


def _check_best(
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
    step, begin = _step(experiment, objective)

    def alone(state, batch, key):
        return step(state, batch, key, lambda x: x, lambda x: x)

    state, key = jax.eval_shape(begin, params), jax.eval_shape(lambda: jax.random.key(0))
    _, metrics = jax.eval_shape(alone, state, with_positions(batch), key)
    check_best(experiment.train.best, [*metrics, *measured], prefix)


def _check_train_only(
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


def _check_frozen(model: LatentDiffusion, start: starting.Start | None) -> None:
    """Raises InputError where a conditioner that is not trained would stay as it was drawn."""
    if model.conditioner.trained or (start and "conditioner" in start.shapes):
        return
    raise InputError(
        "the conditioner is frozen and has no weights: expected --init-from RUN, of a model that "
        "has one, such as Stable Diffusion converted by scripts/convert.py"
    )


def _prepare_first_stage(
    experiment: FirstStageExperiment,
    run: Path,
    prefix: str = "",
    start: starting.Start | None = None,
) -> Source:
    checks.check_first_stage(experiment, prefix)
    check_devices(experiment.train, f"{prefix}train")
    check_batch(experiment.data.batch_size, f"{prefix}data.batch_size", experiment.train)
    source = _open(experiment.data)
    if isinstance(source.records, latents.Source):
        raise InputError(
            f"{prefix}data.path '{experiment.data.path}' holds latents: expected the images "
            "themselves to train a first stage on"
        )
    first_stage = build.build_first_stage(experiment.model)
    params = jax.eval_shape(
        lambda key: init_first_stage(first_stage, experiment.loss, key), jax.random.key(0)
    )
    if start:
        starting.match(start, _without(params, "perceptual"))
    trained = _stage_objective(experiment, first_stage).trained
    _check_train_only("first stage", experiment, params, trained)
    if checkpoint.latest_step(run) is not None:
        objective = _stage_objective(experiment, first_stage)
        _check_architecture(run, params, experiment, objective)
    elif experiment.loss.perceptual_weight:
        with hosts.first_before_others():
            weights = load_lpips(experiment.loss.perceptual, experiment.loss.perceptual_weights)
        source = source._replace(perceptual=weights)
    asked, best = experiment.evaluation, experiment.train.best is not None
    batch = _look(experiment.data, source, batch=best)
    measured = ()
    if asked.every:
        in_training.check_alone(asked.every, prefix)
        check_batch(asked.batch_size, f"{prefix}evaluation.batch_size")
        held_out = _open(replace(experiment.data, split=asked.split)).records
        source = source._replace(held_out=held_out)
        measured = in_training.scores(experiment.data.image_size)
    if best:
        objective = _stage_objective(experiment, first_stage)
        _check_best(experiment, objective, params, batch, measured, prefix)
    return source


def init_first_stage(first_stage: FirstStage, loss: AutoencoderLoss, key: Array) -> Params:
    """All params of a first stage that is to be trained, the perceptual network's drawn too."""
    helper_key, perceptual_key = (jax.random.fold_in(key, n) for n in (1, 2))
    params = first_stage.init(key)
    params |= autoencoder_step.init_helpers(first_stage, loss, helper_key, params)
    if loss.perceptual_weight:
        params["perceptual"] = build.build_perceptual(loss).init(perceptual_key)
    return params


def _check_architecture(
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
    state = jax.eval_shape(_step(experiment, objective)[1], params)
    checkpoint.check_architecture(run, checkpoint.parts(state))


def _step(
    experiment: runs.AnyExperiment, objective: Objective
) -> tuple[Callable, Callable[[Params], TrainState]]:
    """The train step of an experiment, and what makes the state before the first from params."""
    config = experiment.optim
    optim = optimizer(config, experiment.train.steps, objective.trained)
    step = make_train_step(objective, optim, config.ema_decay)

    def begin(params: Params) -> TrainState:
        return power_ema.with_averages(new_state(params, optim, objective), config.power_ema)

    return power_ema.keeping(step, config.power_ema), begin


def _plan(
    name: str, experiment: runs.AnyExperiment, objective: Objective, params: Params, batch: dict
) -> None:
    """Says what a step would cost; compiles it, and computes nothing.

    Args:
        params: their shapes.
        batch: of this host.
    """
    spread = devices(experiment.train.devices, experiment.train.mesh)
    step, begin = _step(experiment, objective)
    state = spread.target(jax.eval_shape(begin, params))
    key = jax.eval_shape(lambda: jax.random.key(0))
    batch = spread.like(with_positions(batch))
    for line in plan.describe(
        spread.lift(step, state), state, batch, key, experiment.data.batch_size
    ):
        print(f"{name}: {line}")


def _plan_first_stage(experiment: FirstStageExperiment, source: Source) -> None:
    first_stage = build.build_first_stage(experiment.model)
    objective = _stage_objective(experiment, first_stage)
    params = jax.eval_shape(
        lambda: init_first_stage(first_stage, experiment.loss, jax.random.key(0))
    )
    _plan("first stage", experiment, objective, params, next(_data(experiment.data, source, 0)))


def _open(data: Data) -> Source:
    with hosts.first_before_others():
        return Source(*pipeline.open_source(data))


def _look(
    data: Data, source: Source, keys: tuple = (), tokenizer=None, batch: bool = False
) -> dict | None:
    """A first look at the data: what cannot be read or does not fit shows before any work.

    Returns a batch where one had to be made, or is asked for.
    """
    batches = _data(data, source, 0, keys, tokenizer)
    pipeline.check_readable(data, source.records)
    return next(batches) if batch or source.derive else None


def _finished(name: str, run: Path, steps: int) -> bool:
    """Whether a run has made its steps, and says so."""
    made = checkpoint.latest_step(run) or 0
    if made >= steps:
        print(f"{name}: trained already ({made} steps)")
    return made >= steps


def _data(
    data: Data,
    source: Source,
    seed: int,
    keys: tuple = (),
    tokenizer=None,
    whole: bool = False,
):
    """The batches of this host, or where `whole` those of all hosts, the same on each."""
    return pipeline.batches(
        data,
        source.records,
        seed=seed,
        keys=keys,
        derive=source.derive,
        tokenize=tokenizer and (lambda caption: tokens.encode(tokenizer, caption)),
        process_index=0 if whole else jax.process_index(),
        process_count=1 if whole else jax.process_count(),
    )


def _announce(name: str, experiment: runs.AnyExperiment, placed: str, tokens: int = 0) -> None:
    """Says what a step is and how fast it learns: nothing of it is scaled without being said.

    Args:
        placed: how the state is spread over the devices.
        tokens: of a condition, for each image.
    """
    optim, train, size = experiment.optim, experiment.train, experiment.data.batch_size
    parts = f", in {train.accumulate} parts" if train.accumulate > 1 else ""
    hosts = f" from {jax.process_count()} hosts" if jax.process_count() > 1 else ""
    told = f" and {size * tokens} tokens" if tokens else ""
    warmup = f" after {optim.warmup} steps of warm-up" if optim.warmup else ""
    print(f"{name}: {placed}")
    print(
        f"{name}: a step sees {size} images{told}{hosts}{parts}; "
        f"{optim.kind}, learning rate {optim.lr:g}, {optim.schedule}{warmup}",
        flush=True,
    )


def _tokens(model: LatentDiffusion) -> int:
    """How many tokens of a condition go with each image; 0 where there are none."""
    shapes = runs.model_shapes(model)
    told = jax.eval_shape(lambda params: model.condition(params, model.conditioner.null(1)), shapes)
    return 0 if told.tokens is None else told.tokens.shape[1]


def _check_latents(source: Source, experiment: Experiment, model: LatentDiffusion) -> None:
    """Raises InputError where a condition is made of the images that latents are of."""
    if source.derive or model.conditioner.encode:
        raise InputError(
            f"data.path '{experiment.data.path}' holds latents: expected images for a condition of "
            f"{type(experiment.condition).__name__}, which is made of them"
        )


def _of_latents(source: Source, model: LatentDiffusion, params: Params) -> LatentDiffusion:
    """The model for training on latents, where the source has them in place of images.

    Raises:
        InputError: another first stage encoded them.
    """
    if isinstance(source.records, latents.Source):
        there, own = source.records.described, digest(params, model.first_stage)
        if there.first_stage != own:
            raise InputError(
                f"the latents in {source.records.name} are of a first stage with digest "
                f"{there.first_stage}: expected {own}, that of first_stage.run; cache them with it"
            )
    return _reading(source, model)


def _reading(source: Source, model: LatentDiffusion) -> LatentDiffusion:
    """The model with a first stage and a conditioner that read what the source has."""
    if not isinstance(source.records, latents.Source):
        return model
    described = source.records.described
    model = model._replace(first_stage=remembered(model.first_stage, described.drawn))
    if described.answered and can_be_remembered(model.conditioner):
        model = model._replace(
            conditioner=remembered_captions(model.conditioner, source.records.empty())
        )
    return model


def _check_captions(source: Source, params: Params, tokenizer: Tokenizer) -> None:
    """Raises InputError where another conditioner than that of `params` read the captions."""
    there, own = source.records.described.conditioner, caption_digest(params, tokenizer)
    if there != own:
        raise InputError(
            f"the captions in {source.records.name} were read by a conditioner with digest "
            f"{there}: expected {own}, that of the model; cache them with --embed-text and its run"
        )


def _stage_objective(experiment: FirstStageExperiment, first_stage: FirstStage) -> Objective:
    parts = experiment.train.accumulate
    return build.build_autoencoder_objective(first_stage, experiment.loss, parts)


def _without(params: Params, part: str) -> Params:
    return {name: tree for name, tree in params.items() if name != part}


def _train_first_stage(
    experiment: FirstStageExperiment,
    run: Path,
    source: Source,
    start: starting.Start | None = None,
) -> None:
    runs.write(run, experiment, None, source.info)
    first_stage = build.build_first_stage(experiment.model)
    init_key, step_key = jax.random.split(jax.random.key(experiment.seed))
    objective = _stage_objective(experiment, first_stage)
    spread = devices(experiment.train.devices, experiment.train.mesh)
    params = spread.make(lambda key: init_first_stage(first_stage, experiment.loss, key), init_key)
    if source.perceptual is not None:
        params["perceptual"] = source.perceptual
    if start and checkpoint.latest_step(run) is None:
        params |= starting.fill(start, _without(params, "perceptual"))
    step, begin = _step(experiment, objective)
    state = spread.make(begin, spread.place(params))
    _announce("first stage", experiment, spread.summary(state))
    example = next(_data(experiment.data, source, experiment.seed + 1, whole=True))
    fit(
        "first stage",
        run,
        experiment.train,
        spread,
        step,
        state,
        _data(experiment.data, source, experiment.seed),
        step_key,
        picture=_reconstructions(first_stage, example["image"][: experiment.train.num_samples]),
        measurement=_quality(experiment, first_stage, source.held_out),
    )


def _quality(
    experiment: FirstStageExperiment, first_stage: FirstStage, held_out
) -> Measurement | None:
    if held_out is None:
        return None
    asked = experiment.evaluation
    data = replace(experiment.data, split=asked.split, batch_size=asked.batch_size)
    num = min(asked.num, len(held_out))
    return in_training.quality_of_reconstructions(
        asked, first_stage, data.image_size, lambda: pipeline.once(data, held_out, num)
    )


def _reconstructions(first_stage: FirstStage, images: np.ndarray) -> Callable:
    @jax.jit
    def reconstruct(params, images):
        mean = first_stage.posterior(params, images).mean
        return first_stage.decode(params, scaled(params, mean))

    def picture(state: TrainState) -> np.ndarray:
        decoded = np.asarray(reconstruct(averaged_params(state), images))
        return pictures.pairs(pictures.to_uint8(images), pictures.to_uint8(decoded))

    return picture


def _train_diffusion(
    experiment: Experiment,
    run: Path,
    first_run: Path,
    source: Source,
    model: LatentDiffusion,
    tokenizer: Tokenizer | None,
    start: starting.Start | None = None,
    distance: in_training.Distance | None = None,
) -> None:
    init_key, step_key, scale_key = jax.random.split(jax.random.key(experiment.seed), 3)
    spread = devices(experiment.train.devices, experiment.train.mesh)
    params = spread.make(lambda key: _trained_parts(experiment, model, key), init_key)
    first_stage = runs.load_first_stage(first_run, model.first_stage)
    reading = _of_latents(source, model, first_stage)
    if checkpoint.latest_step(run) is None:  # or else all of it is in the checkpoint
        if start:
            params = starting.fill(start, params)
            if first_run == start.run:
                print("its first stage and the scale of its latents are taken along")
        if start is None or first_run != start.run:
            given = {**params, "first_stage": first_stage}
            first_stage |= _scale(experiment, source, reading.first_stage, given, scale_key)
    params["first_stage"] = first_stage
    if reading.conditioner is not model.conditioner:
        resumes = checkpoint.latest_step(run) is not None
        frozen = checkpoint.read_part(run, "params", "conditioner") if resumes else None
        _check_captions(source, frozen or params["conditioner"], tokenizer)
    objective = _objective(experiment, reading)
    step, begin = _step(experiment, objective)
    state = spread.make(begin, spread.place(params))
    _announce("diffusion", experiment, spread.summary(state), _tokens(model))
    keys = model.conditioner.keys
    others = _data(experiment.data, source, experiment.seed + 1, keys, tokenizer, True)
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
        _data(experiment.data, source, experiment.seed, reading.conditioner.keys, tokenizer),
        step_key,
        picture=_samples(generate, {key: example[key][:n] for key in keys}, n),
        measurement=measurement,
    )


def _conditions(held: list[dict], batches, keys: Sequence[str], num: int) -> dict:
    """What the conditioner reads of `num` examples, each [num, ...], of these batches and the next
    ones."""
    if not keys:
        return {}
    while sum(len(batch["image"]) for batch in held) < num:
        held.append({key: x for key, x in next(batches).items() if key in (*keys, "image")})
    return {key: np.concatenate([batch[key] for batch in held])[:num] for key in keys}


def _trained_parts(
    experiment: Experiment, model: LatentDiffusion, key: Array | None = None
) -> Params:
    """All parts of params but the first stage."""
    params = model.init(jax.random.key(0) if key is None else key)
    return params | _init_helpers(experiment, model)


def _scale(
    experiment: Experiment, source: Source, first_stage: FirstStage, params: Params, key: Array
) -> Params:
    """The shift and the scale of the latents: known, or measured on images as in training."""
    kind = experiment.latent_scale
    if not isinstance(kind, str):
        return factor(first_stage.channels, kind)
    batches = _data(experiment.data, source, experiment.seed + 1, whole=True)
    return measure_scale(first_stage, params["first_stage"], batches, key, kind)


def _objective(experiment: Experiment, model: LatentDiffusion) -> Objective:
    drop = getattr(experiment.condition, "drop", 0.0)
    batch_size = experiment.data.batch_size
    parts = experiment.train.accumulate
    return diffusion_step.diffusion_objective(model, experiment.loss, drop, batch_size, parts)


def _init_helpers(experiment: Experiment, model: LatentDiffusion) -> Params:
    return diffusion_step.init_helpers(model.process, experiment.loss)


def _generate(experiment: Experiment, model: LatentDiffusion) -> Callable:
    """(params, inputs, seeds) -> images, drawn as the config has it."""
    s = experiment.sampling
    generate = make_generate(model, build.build_sampler(s.sampler), experiment.data.image_size)
    times, options = sampling.padded_grid(s, model.process), sampling.arguments(s)
    return lambda params, inputs, seeds: generate(params, inputs, seeds, times, s.guidance, options)


def _samples(generate: Callable, inputs: dict, n: int) -> Callable:
    def picture(state: TrainState) -> np.ndarray:
        seeds = np.arange(n, dtype=np.uint32)
        images = generate(averaged_params(state), inputs, seeds)
        return pictures.grid(pictures.to_uint8(images))

    return picture


def _fit_condition(condition, info: pipeline.DataInfo):
    """The condition with what the data says filled in.

    Raises:
        InputError: the data has not what the condition reads, or labels beyond it.
    """
    if isinstance(condition, Label):
        if not info.class_names:
            raise InputError(
                "condition is Label but the data has no classes: expected class folders or a label "
                "field (--data.label); or use condition=Text() or Unconditional()"
            )
        count = _fit_classes(condition.num_classes, "condition.num_classes", info)
        return replace(condition, num_classes=count)
    if isinstance(condition, Layout):
        found = len(info.object_names)
        return replace(condition, num_classes=condition.num_classes or found or 1)
    if isinstance(condition, Text) and not info.has_captions:
        raise InputError(
            "condition is Text but the data has no captions: expected metadata.jsonl, a .txt "
            "beside each image, or another field (--data.caption); or use condition=Label()"
        )
    return condition


def _fit_classes(wanted: int | None, name: str, info: pipeline.DataInfo) -> int:
    """How many classes to tell apart: `wanted`, or as many as the data has."""
    found = len(info.class_names)
    wanted = wanted or found
    if found > wanted:
        raise InputError(
            f"label {wanted} of class '{info.class_names[wanted]}' is out of range: the data "
            f"has {found} classes and {name} is {wanted}; set it to {found}"
        )
    return wanted


def _tokenizer(
    experiment: Experiment, run: Path, source: Source, start: starting.Start | None = None
) -> Tokenizer | None:
    condition = experiment.condition
    if not isinstance(condition, Text):
        return None
    if (run / "tokenizer.json").exists():
        return tokens.load(run / "tokenizer.json", condition.length)
    inherited = start and (start.run / "tokenizer.json").exists()
    if isinstance(condition, CLIPText) and not condition.tokenizer and inherited:
        return runs.load_tokenizer(start.run, start.experiment)
    if isinstance(condition, CLIPText):
        return clip_tokenizer.load(condition.tokenizer, condition.length, condition.weights)
    if condition.tokenizer:
        return tokens.load(condition.tokenizer, condition.length)
    if start and isinstance(start.experiment.condition, Text):  # its weights know its pieces alone
        return runs.load_tokenizer(start.run, start.experiment)
    if condition.vocab_size is None:
        raise InputError(
            "condition.vocab_size is None: expected how many word pieces to learn, "
            "or a tokenizer.json as condition.tokenizer"
        )
    captions = pipeline.captions(source.records)
    return tokens.learn(captions, condition.vocab_size, condition.length)


def _train_classifier(
    experiment: ClassifierExperiment,
    run: Path,
    dry_run: bool,
    start: starting.Start | None = None,
) -> None:
    """Trains a classifier of the noised latents of a diffusion model's run."""
    if not experiment.diffusion_run:
        raise InputError(
            "diffusion_run is not set: expected the run of the diffusion model that is to be "
            "guided (--diffusion-run RUN), whose latents the classifier sees"
        )
    guided = runs.describe(Path(experiment.diffusion_run))
    of_guided = guided.experiment
    data = _inherited(experiment.data, of_guided.data)
    if data.image_size != of_guided.data.image_size:
        raise InputError(
            f"data.image_size is {data.image_size}: expected {of_guided.data.image_size}, as the "
            f"diffusion model of run '{guided.run}' has it"
        )
    first_stage, diffusion = of_guided.first_stage, of_guided.diffusion
    experiment = replace(experiment, data=data, first_stage=first_stage, diffusion=diffusion)
    check_devices(experiment.train, "train")
    check_batch(data.batch_size, "data.batch_size", experiment.train)
    checks.check_classifier(experiment)
    source = _open(data)
    if isinstance(source.records, latents.Source):
        raise InputError(f"data.path '{data.path}' holds latents: expected images")
    if not source.info.class_names:
        raise InputError(
            "the data of a classifier has no classes: expected class folders or a label field "
            "(--data.label)"
        )
    count = _fit_classes(experiment.num_classes, "num_classes", source.info)
    experiment = replace(experiment, num_classes=count)
    model = build.build_classifier(experiment)
    objective = classifier_objective(model, experiment.train.accumulate)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    _check_train_only("classifier", experiment, shapes, objective.trained)
    if start:
        starting.match(start, jax.eval_shape(model.init, jax.random.key(0)))
    if checkpoint.latest_step(run) is not None:
        _check_architecture(run, runs.model_shapes(model), experiment, objective)
    best = experiment.train.best is not None
    batch = _look(data, source, ("label",), batch=dry_run or best)
    params = {**runs.model_shapes(model)}
    if best:
        _check_best(experiment, objective, params, batch)
    if dry_run:
        _plan("classifier", experiment, objective, params, batch)
        return
    if _finished("classifier", run, experiment.train.steps):
        return
    runs.write(run, experiment, None, source.info)
    init_key, step_key = jax.random.split(jax.random.key(experiment.seed))
    spread = devices(experiment.train.devices, experiment.train.mesh)
    params = spread.make(model.init, init_key)
    if start and checkpoint.latest_step(run) is None:
        params = starting.fill(start, params)
    params["first_stage"] = runs.load_scaled_first_stage(guided.run, guided.model.first_stage)
    step, begin = _step(experiment, objective)
    state = spread.make(begin, spread.place(params))
    _announce("classifier", experiment, spread.summary(state))
    fit(
        "classifier",
        run,
        experiment.train,
        spread,
        step,
        state,
        _data(data, source, experiment.seed, ("label",)),
        step_key,
    )
