"""How fast data are read, against how fast the quickstart's training takes them.

    python benchmarks/data_loading.py

The model of configs/demo.py trains on one batch again and again, which is what its devices can
take. Then batches are read and nothing else: of its scenes as PNGs in a folder with captions, and
as array_record (`data.path shapes`), captions tokenized; in the first epoch, where each image is
decoded, and in later ones, where what fits into memory is there.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

import jax
import numpy as np
import tyro

from ldm_jax import cli
from ldm_jax.data import pipeline
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.diffusion import diffusion_objective
from ldm_jax.train_step.optimizer import optimizer
from ldm_jax.train_step.state import make_train_step, new_state
from ldm_jax.training.loop import with_positions


@dataclass(frozen=True)
class Options:
    """The settings of the benchmark."""

    config: Path = Path("configs/demo.py")
    images: int = 2000
    """an epoch"""
    steps: int = 20
    """of training, a round"""
    rounds: int = 5


def consumption(experiment, tokenizer, batches, options: Options) -> float:
    """Images a second that training takes where data cost nothing."""
    model = experiment.build({"tokens": tokenizer})
    params = jax.jit(model.init)(jax.random.key(0))
    params["first_stage"] = jax.jit(model.first_stage.init)(jax.random.key(1))
    size = experiment.data.batch_size
    objective = diffusion_objective(model, experiment.loss, experiment.conditions[0].drop, size)
    optim = optimizer(experiment.optim, experiment.train.steps, objective.trained)
    spread, key = devices("jit"), jax.random.key(2)
    state = spread.place(new_state(params, optim, objective))
    step = spread.parallelize(make_train_step(objective, optim, experiment.optim.ema_decay), state)
    batch = spread.split(with_positions(next(batches)))
    state, _ = jax.block_until_ready(step(state, {}, batch, key))
    rates = []
    for _ in range(options.rounds):
        began = time.perf_counter()
        for _ in range(options.steps):
            state, metrics = step(state, {}, batch, key)
        jax.block_until_ready((state, metrics))
        rates.append(options.steps * size / (time.perf_counter() - began))
    return float(np.median(rates))


def reading(data, encode, epochs: int = 3) -> list[float]:
    """Images a second of each epoch."""
    source, _ = pipeline.open_source(data)
    batches = pipeline.batches(data, source, seed=0, keys=("tokens",), tokenize={"tokens": encode})
    count, rates = len(source) // data.batch_size, []
    for _ in range(epochs):
        began = time.perf_counter()
        for _ in range(count):
            next(batches)
        rates.append(count * data.batch_size / (time.perf_counter() - began))
    return rates


def main(options: Options) -> None:
    """Writes the scenes as a folder, and measures."""
    experiment = cli.load_config(options.config)
    shapes = replace(experiment.data.shapes, num_train=options.images)
    data = replace(experiment.data, shapes=shapes)
    source, _ = pipeline.open_source(data)
    folder = Path(mkdtemp(prefix="scenes"))
    rows = []
    for i in range(len(source)):
        (folder / f"{i:05}.png").write_bytes(source[i]["image"])
        rows.append(json.dumps({"file_name": f"{i:05}.png", "text": source[i]["text"]}) + "\n")
    (folder / "metadata.jsonl").write_text("".join(rows), "utf-8")
    condition = experiment.conditions[0]
    tokenizer = tokens.learn(pipeline.captions(source), condition.vocab_size, condition.length)

    def encode(caption):
        return tokens.encode(tokenizer, caption)

    batches = pipeline.batches(data, source, seed=0, keys=("tokens",), tokenize={"tokens": encode})
    taken = consumption(replace(experiment, data=data), tokenizer, batches, options)
    print(f"training {options.config} takes {taken:.0f} images/s", flush=True)
    for name, path in (("folder", str(folder)), ("array_record", "shapes")):
        first, *later = reading(replace(data, path=path), encode)
        print(
            f"{name}: {first:.0f} images/s in the first epoch, {first / taken:.1f} times that; "
            f"{np.median(later):.0f} later, {np.median(later) / taken:.1f} times",
            flush=True,
        )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
