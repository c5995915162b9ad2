"""Runs: folders that hold a config, its checkpoints and what training wrote.

RUN/config.py            the resolved config, runnable Python
RUN/tokenizer.json       where captions are read
RUN/classes.txt          names of the classes, where there are any
RUN/checkpoints/STEP/    see checkpoint.py
RUN/metrics.csv, RUN/events.out.tfevents.*, RUN/samples/STEP.png
RUN/first_stage/         the first stage's run, where it was trained on the way
"""

import pprint
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tokenizers import Tokenizer

from ldm_jax import build, checkpoint, cli, pictures
from ldm_jax.autoencoders.latents import scaled
from ldm_jax.conditioning import tokenizer as tokens
from ldm_jax.config import Data, Experiment, FirstStageExperiment, Label, Text
from ldm_jax.data import pipeline
from ldm_jax.errors import InputError
from ldm_jax.pipelines.generate import make_generate, padded_grid
from ldm_jax.sharding import check_batch, devices
from ldm_jax.train import autoencoder_step, diffusion_step
from ldm_jax.train.loop import fit
from ldm_jax.train.optim import optimizer
from ldm_jax.train.scale import measure_scale
from ldm_jax.train.state import averaged_params, make_train_step, new_state
from ldm_jax.types import FirstStage, LatentDiffusion, Params, TrainState


class Source(NamedTuple):
    """Opened data: records, and what is known of them."""

    records: object
    info: pipeline.DataInfo


def inherit(first_stage: FirstStageExperiment, data: Data) -> FirstStageExperiment:
    """The first stage with the second stage's data in every field left at its default.

    Where the first stage names images of its own, it shares the image size alone.
    """
    own, default = first_stage.data, Data()
    names = ("image_size",) if own.path else (field.name for field in fields(Data))
    filled = {n: getattr(data, n) for n in names if getattr(own, n) == getattr(default, n)}
    return replace(first_stage, data=replace(own, **filled))


def train(experiment: Experiment | FirstStageExperiment, run: Path, dry_run: bool = False) -> None:
    """Trains what the experiment describes in the folder `run`, or goes on with it.

    Raises:
        InputError: bad input, found before anything is written.
    """
    cli.check_folder(run, "--workdir")
    build.check_ranges(experiment)
    if isinstance(experiment, FirstStageExperiment):
        source = _prepare_first_stage(experiment, run)
        if not dry_run and not _finished("first stage", run, experiment.train.steps):
            _train_first_stage(experiment, run, source)
        return
    first = inherit(experiment.first_stage, experiment.data)
    first_run = Path(first.run or run / "first_stage")
    if first.run:
        first = load_first_stage_config(first_run)
    experiment = replace(experiment, first_stage=first)
    build.check_diffusion(experiment)
    first_source = None if first.run else _prepare_first_stage(first, first_run, "first_stage.")
    check_batch(experiment.data.batch_size, "data.batch_size")
    source = Source(*pipeline.open_source(experiment.data))
    experiment = replace(experiment, condition=_fit_condition(experiment.condition, source.info))
    tokenizer = _tokenizer(experiment, run, source)
    model = build.build_model(experiment, tokenizer)
    if checkpoint.latest_step(run) is not None:
        optim = optimizer(experiment.optim, experiment.train.steps)
        _check_architecture(run, _weights_target(model)["params"], optim, diffusion_step.TRAINED)
    _look(experiment.data, source, model.conditioner.keys, tokenizer)
    if dry_run:
        return
    if first_source and not _finished("first stage", first_run, first.train.steps):
        _train_first_stage(first, first_run, first_source)
    if not _finished("diffusion", run, experiment.train.steps):
        _write(run, experiment, tokenizer, source.info)
        _train_diffusion(experiment, run, first_run, source, model, tokenizer)


def _prepare_first_stage(experiment: FirstStageExperiment, run: Path, prefix: str = "") -> Source:
    build.check_first_stage(experiment, prefix)
    check_batch(experiment.data.batch_size, f"{prefix}data.batch_size")
    source = Source(*pipeline.open_source(experiment.data))
    if checkpoint.latest_step(run) is not None:
        params = _first_stage_target(build.build_first_stage(experiment.model))["params"]
        optim = optimizer(experiment.optim, experiment.train.steps)
        _check_architecture(run, params, optim, autoencoder_step.TRAINED)
    _look(experiment.data, source)
    return source


def _check_architecture(run: Path, params: Params, optim, trained: tuple[str, ...]) -> None:
    """Raises InputError unless training could go on from the newest checkpoint."""
    state = jax.eval_shape(lambda params: new_state(params, optim, trained), params)
    checkpoint.check_architecture(run, checkpoint.parts(state))


def _look(data: Data, source: Source, keys: tuple = (), tokenizer=None) -> None:
    """A first look at the data: what cannot be read or does not fit shows before any work."""
    _data(data, source, 0, keys, tokenizer)
    pipeline.check_readable(data, source.records)


def _finished(name: str, run: Path, steps: int) -> bool:
    """Whether a run has made its steps, and says so."""
    made = checkpoint.latest_step(run) or 0
    if made >= steps:
        print(f"{name}: trained already ({made} steps)")
    return made >= steps


def _data(data: Data, source: Source, seed: int, keys: tuple = (), tokenizer=None):
    return pipeline.batches(
        data,
        source.records,
        seed=seed,
        keys=keys,
        tokenize=tokenizer and (lambda caption: tokens.encode(tokenizer, caption)),
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _train_first_stage(experiment: FirstStageExperiment, run: Path, source: Source) -> None:
    _write(run, experiment, None, source.info)
    first_stage = build.build_first_stage(experiment.model)
    init_key, step_key, scale_key = jax.random.split(jax.random.key(experiment.seed), 3)
    optim = optimizer(experiment.optim, experiment.train.steps)
    state = new_state(jax.jit(first_stage.init)(init_key), optim, autoencoder_step.TRAINED)
    step = make_train_step(
        autoencoder_step.autoencoder_loss(first_stage, experiment.loss),
        optim,
        autoencoder_step.TRAINED,
        experiment.optim.ema_decay,
    )
    spread = devices(experiment.train.devices)
    example = next(_data(experiment.data, source, experiment.seed + 1))

    def finish(state: TrainState) -> TrainState:
        batches = _data(experiment.data, source, experiment.seed + 1)
        scale = measure_scale(
            first_stage, averaged_params(state), batches, scale_key, experiment.latent_scale
        )
        return state.replace(params={**state.params, **spread.replicate(scale)})

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
        finish=finish,
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
) -> None:
    init_key, step_key = jax.random.split(jax.random.key(experiment.seed))
    params = jax.jit(model.init)(init_key)
    params["first_stage"] = load_first_stage(first_run, model.first_stage)
    optim = optimizer(experiment.optim, experiment.train.steps)
    drop = getattr(experiment.condition, "drop", 0.0)
    step = make_train_step(
        diffusion_step.diffusion_loss(model, drop),
        optim,
        diffusion_step.TRAINED,
        experiment.optim.ema_decay,
    )
    keys = model.conditioner.keys
    example = next(_data(experiment.data, source, experiment.seed + 1, keys, tokenizer))
    n = min(experiment.train.num_samples, len(example["image"]))
    fit(
        "diffusion",
        run,
        experiment.train,
        devices(experiment.train.devices),
        step,
        new_state(params, optim, diffusion_step.TRAINED),
        _data(experiment.data, source, experiment.seed, keys, tokenizer),
        step_key,
        picture=_samples(experiment, model, {key: example[key][:n] for key in keys}, n),
    )


def _samples(experiment: Experiment, model: LatentDiffusion, inputs: dict, n: int) -> Callable:
    s = experiment.sampling
    generate = make_generate(model, build.build_sampler(s.sampler), experiment.data.image_size)
    times = padded_grid(s.grid, model.process.T, s.steps)

    def picture(state: TrainState) -> np.ndarray:
        seeds = np.arange(n, dtype=np.uint32)
        images = generate(averaged_params(state), inputs, seeds, times, s.guidance, s.eta)
        return pictures.grid(pictures.to_uint8(images))

    return picture


def _fit_condition(condition, info: pipeline.DataInfo):
    """The condition with what the data says filled in.

    Raises:
        InputError: the data has not what the condition reads, or labels beyond it.
    """
    if isinstance(condition, Label):
        found = len(info.class_names)
        if not found:
            raise InputError(
                "condition is Label but the data has no classes: expected class folders or a label "
                "field (--data.label); or use condition=Text() or Unconditional()"
            )
        wanted = condition.num_classes or found
        if found > wanted:
            raise InputError(
                f"label {wanted} of class '{info.class_names[wanted]}' is out of range: the data "
                f"has {found} classes and condition.num_classes is {wanted}; set it to {found}"
            )
        return replace(condition, num_classes=wanted)
    if isinstance(condition, Text) and not info.has_captions:
        raise InputError(
            "condition is Text but the data has no captions: expected metadata.jsonl, a .txt "
            "beside each image, or another field (--data.caption); or use condition=Label()"
        )
    return condition


def _tokenizer(experiment: Experiment, run: Path, source: Source) -> Tokenizer | None:
    condition = experiment.condition
    if not isinstance(condition, Text):
        return None
    if (run / "tokenizer.json").exists():
        return tokens.load(run / "tokenizer.json", condition.length)
    if condition.tokenizer:
        return tokens.load(condition.tokenizer, condition.length)
    if condition.vocab_size is None:
        raise InputError(
            "condition.vocab_size is None: expected how many word pieces to learn, "
            "or a tokenizer.json as condition.tokenizer"
        )
    captions = pipeline.captions(source.records)
    return tokens.learn(captions, condition.vocab_size, condition.length)


def _write(run: Path, experiment, tokenizer: Tokenizer | None, info: pipeline.DataInfo) -> None:
    run.mkdir(parents=True, exist_ok=True)
    if tokenizer and not (run / "tokenizer.json").exists():
        _write_whole(run / "tokenizer.json", tokenizer.to_str(pretty=True))
    if info.class_names:
        _write_whole(run / "classes.txt", "".join(f"{name}\n" for name in info.class_names))
    _write_whole(run / "config.py", as_python(experiment))


def _write_whole(path: Path, text: str) -> None:
    """Writes a file that is never seen half-written."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(text)
    unfinished.replace(path)


def as_python(experiment: Experiment | FirstStageExperiment) -> str:
    """The experiment as a config file."""
    body = pprint.pformat(experiment, indent=4, width=96, sort_dicts=False)
    return f"from ldm_jax.config import *  # noqa: F403\n\nconfig = {body}\n"


def _first_stage_target(first_stage: FirstStage) -> dict:
    params = jax.eval_shape(first_stage.init, jax.random.key(0))
    return {"params": params, "ema": {name: params[name] for name in autoencoder_step.TRAINED}}


def _weights_target(model: LatentDiffusion) -> dict:
    params = jax.eval_shape(model.init, jax.random.key(0))
    params["first_stage"] = jax.eval_shape(model.first_stage.init, jax.random.key(0))
    return {"params": params, "ema": {name: params[name] for name in diffusion_step.TRAINED}}


def _load_weights(run: Path, target: dict) -> Params:
    weights = checkpoint.restore_weights(run, devices("jit").target(target))
    return {**weights["params"], **weights["ema"]}


def load_first_stage_config(run: Path) -> FirstStageExperiment:
    """The config of a first stage's run, with where it is.

    Raises:
        InputError: not such a run, or one without a checkpoint that fits it.
    """
    config = _load_config(run)
    if not isinstance(config, FirstStageExperiment):
        raise InputError(f"run '{run}' is a diffusion model: expected the run of a first stage")
    checkpoint.check_architecture(run, _first_stage_target(build.build_first_stage(config.model)))
    if checkpoint.latest_step(run) < config.train.steps:
        print(f"warning: first stage '{run}' has not finished its training", file=sys.stderr)
    return replace(config, run=str(run))


def load_first_stage(run: Path, first_stage: FirstStage) -> Params:
    """The averaged weights of a first stage's run, with its measured scale."""
    return _load_weights(run, _first_stage_target(first_stage))


class Trained(NamedTuple):
    """A trained latent diffusion model."""

    run: Path
    experiment: Experiment
    model: LatentDiffusion
    params: Params
    tokenizer: Tokenizer | None
    class_names: tuple[str, ...]
    step: int


def load(run: Path) -> Trained:
    """The model of a run, with the averaged weights of its newest checkpoint.

    Raises:
        InputError: not a run, a run of a first stage, or one without a checkpoint that fits it.
    """
    described = describe(run)
    return described._replace(params=_load_weights(run, _weights_target(described.model)))


def describe(run: Path) -> Trained:
    """The model of a run without its weights: all that it takes to check a request.

    Raises:
        InputError: not a run, a run of a first stage, or one without a checkpoint.
    """
    experiment = _load_config(run)
    if not isinstance(experiment, Experiment):
        raise InputError(
            f"run '{run}' is a first stage: expected the run of a diffusion model, "
            "trained with a config such as configs/demo.py"
        )
    step = checkpoint.latest_step(run)
    if step is None:
        raise InputError(f"run '{run}' has no checkpoint: train it first with train.py")
    tokenizer = None
    if isinstance(experiment.condition, Text):
        tokenizer = tokens.load(run / "tokenizer.json", experiment.condition.length)
    model = build.build_model(experiment, tokenizer)
    classes = run / "classes.txt"
    names = tuple(classes.read_text().splitlines()) if classes.exists() else ()
    return Trained(run, experiment, model, {}, tokenizer, names, step)


def _load_config(run: Path):
    if not run.is_dir():
        raise InputError(f"run '{run}' does not exist: expected a folder that train.py wrote")
    if not (run / "config.py").exists():
        raise InputError(f"'{run}' is not a run: it has no config.py; train one with train.py")
    return cli.load_config(run / "config.py")
