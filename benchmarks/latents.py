"""Training on latents that were encoded once, against encoding images in every step.

    python benchmarks/latents.py

The paper's f8 configuration reduced: kl-f8 and the UNet of txt2img-1p4B at a quarter of their
width, unconditional, images of 128 pixels, mirrored at random. Weights are random, which changes no
time. Both train from a folder of drawn scenes with everything that a step takes, reading included,
and take turns; medians over the rounds.
"""

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
import tyro
from PIL import Image

from ldm_jax import config as c
from ldm_jax import runs
from ldm_jax.autoencoders.latents import remembered
from ldm_jax.data import pipeline
from ldm_jax.runtime.compilation import compile_ahead
from ldm_jax.runtime.sharding import devices
from ldm_jax.tools import cache_latents
from ldm_jax.train_step.diffusion import diffusion_objective
from ldm_jax.train_step.optimizer import optimizer
from ldm_jax.train_step.state import make_train_step, new_state
from ldm_jax.training.loop import with_positions


@dataclass(frozen=True)
class Options:
    """The settings of the benchmark."""

    image_size: int = 128
    batch_size: int = 16
    """few images would measure the optimizer, whose work does not grow with them"""
    width: float = 0.25
    """of both networks, as a share of the paper's"""
    images: int = 64
    steps: int = 1
    """a round"""
    rounds: int = 7


def experiment(options: Options, path: Path) -> c.Experiment:
    """The configuration."""
    channels = int(128 * options.width), int(320 * options.width)
    groups = 16 if channels[1] % 32 else 32
    return c.Experiment(
        first_stage=c.FirstStageExperiment(
            model=c.KLAutoencoder(channels=channels[0], norm_groups=min(32, channels[0])),
            data=c.Data(image_size=options.image_size),
        ),
        latent_scale=0.18215,
        model=c.UNet(channels=channels[1], norm_groups=groups),
        diffusion=c.Diffusion(beta_start=0.00085, beta_end=0.012),
        data=c.Data(
            path=str(path),
            image_size=options.image_size,
            batch_size=options.batch_size,
            flip=True,
        ),
    )


def training(experiment: c.Experiment, params: dict, path: Path):
    """A function that makes some training steps, reading included, and returns the seconds of
    each."""
    model = experiment.build()
    data = replace(experiment.data, path=str(path))
    source, _ = pipeline.open_source(data)
    if hasattr(source, "described"):
        stage = remembered(model.first_stage, source.described.drawn)
        model = model._replace(first_stage=stage)
    batches = pipeline.batches(data, source, seed=0, keys=())
    objective = diffusion_objective(model, experiment.loss, 0.0, data.batch_size)
    optim = optimizer(experiment.optim, 1000, objective.trained)
    spread, key = devices("jit"), jax.random.key(0)
    state = spread.place(new_state(jax.tree.map(np.array, params), optim, objective))
    step = make_train_step(objective, optim, experiment.optim.ema_decay)
    first = spread.split(with_positions(next(batches)))
    compiled = compile_ahead(spread.parallelize(step, state), state, {}, first, key)
    print(f"{path.name}: compiled in {compiled.seconds:.0f} s", flush=True)
    state, _ = compiled.call(state, {}, first, key)
    kept = [state]

    def make(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            batch = spread.split(with_positions(next(batches)))
            kept[0], metrics = compiled.call(kept[0], {}, batch, key)
        jax.block_until_ready((kept[0], metrics))
        return (time.perf_counter() - began) / count

    return make


def main(options: Options) -> None:
    """Writes images, a first stage and its latents, and measures."""
    root = Path(tempfile.mkdtemp(prefix="latents"))
    (root / "images").mkdir()
    for i in range(options.images):
        rng = np.random.default_rng(i)
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        size = (options.image_size,) * 2
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(
            root / "images" / f"{i:04}.png"
        )
    asked = experiment(options, root / "images")
    model = asked.build()
    params = jax.jit(model.init)(jax.random.key(0))
    params["first_stage"] = jax.jit(model.first_stage.init)(jax.random.key(1))
    runs.write_imported(root / "stage", asked.first_stage, params["first_stage"])
    began = time.perf_counter()
    cache_latents.cache_latents(root / "stage", str(root / "images"), root / "latents", [], "")
    seconds = time.perf_counter() - began
    print(f"encoding {options.images} images and their mirror images once: {seconds:.0f} s")
    sides = {name: training(asked, params, root / name) for name in ("images", "latents")}
    times = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, make in sides.items():
            times[name].append(make(options.steps))
    medians = {name: float(np.median(found)) for name, found in times.items()}
    for name, found in times.items():
        spread = f"{min(found):.3f} to {max(found):.3f}"
        print(f"{name}: {medians[name]:.3f} s a step ({spread}), batch {options.batch_size}")
    print(f"latents are {medians['images'] / medians['latents']:.2f} times as fast")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
