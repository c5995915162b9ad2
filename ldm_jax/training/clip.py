"""Training of towers of images and captions."""

from dataclasses import replace
from pathlib import Path

import jax

from ldm_jax import build, checkpoint, checks, runs
from ldm_jax.config import CLIPExperiment
from ldm_jax.data import latents
from ldm_jax.errors import InputError
from ldm_jax.experiments.train import check_batch, check_devices
from ldm_jax.runs import init_from
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.contrastive import contrastive_objective, init_clip
from ldm_jax.training.checked import check_architecture, check_kept, check_train_only
from ldm_jax.training.fitted import find_clip_tokenizer
from ldm_jax.training.loop import fit
from ldm_jax.training.source import batches_of, look, open_source
from ldm_jax.training.steps import announce, is_finished, make_step, print_plan


def train_clip(
    experiment: CLIPExperiment,
    run: Path,
    dry_run: bool,
    start: init_from.Start | None = None,
) -> None:
    """Trains both towers on images with captions."""
    data, train = experiment.data, experiment.train
    checks.check_clip(experiment)
    check_devices(train, "train")
    check_batch(data.batch_size, "data.batch_size", train)
    source = open_source(data)
    if isinstance(source.records, latents.Source):
        raise InputError(f"data.path '{data.path}' holds latents: expected images")
    tokenizer = find_clip_tokenizer(experiment, run, source, start)
    pieces = tokenizer.get_vocab_size()
    experiment = replace(experiment, model=replace(experiment.model, vocab_size=pieces))
    model = build.build_clip(experiment)
    objective = contrastive_objective(model, experiment.loss, data.batch_size, train.accumulate)

    def init(key):
        return init_clip(model, experiment.loss, key)

    params = jax.eval_shape(init, jax.random.key(0))
    check_train_only("clip", experiment, params, objective.trained)
    if start:
        init_from.match(start, params)
    if checkpoint.latest_step(run) is not None:
        check_architecture(run, params, experiment, objective)
    best = train.best is not None
    batch = look(data, source, ("tokens",), tokenizer, dry_run or best)
    if best:
        check_kept(experiment, objective, params, batch)
    if dry_run:
        print_plan("clip", experiment, objective, params, batch)
        return
    if is_finished("clip", run, train.steps):
        return
    runs.write(run, experiment, tokenizer, source.info)
    init_key, step_key = jax.random.split(jax.random.key(experiment.seed))
    spread = devices(train.devices, train.mesh)
    params = spread.make(init, init_key)
    if start and checkpoint.latest_step(run) is None:
        params = init_from.fill(start, params)
    step, begin = make_step(experiment, objective)
    state = spread.make(begin, spread.place(params))
    announce("clip", experiment, spread.summary(state))
    fit(
        "clip",
        run,
        train,
        spread,
        step,
        state,
        batches_of(data, source, experiment.seed, ("tokens",), tokenizer),
        step_key,
    )
