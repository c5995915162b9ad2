"""Trains the tiny models on eight simulated devices, in each way of using them.

python eight_devices.py FOLDER FIRST_STAGE_RUN OUT
"""

import functools
import os
import sys
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ["JAX_PLATFORMS"] = "cpu"
sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import numpy as np
from PIL import Image

from ldm_jax import runs, sampling, training
from ldm_jax.config import AdapterExperiment, ContrastiveLoss, LoRA, Optim, T2IAdapter, Train
from ldm_jax.encoders.clip.model import CLIP, TextArchitecture
from ldm_jax.encoders.clip.vision import Architecture
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling.request import resolve
from ldm_jax.train_step.contrastive import contrastive_objective, init_clip
from ldm_jax.train_step.state import all_gather
from tests.support import tiny, traced_once

traced_once.use()
jax.config.update("jax_disable_most_optimizations", True)


def main(folder: str, first_stage: str, out: str) -> None:
    assert jax.device_count() == 8
    check_gathered()
    check_contrastive()
    experiment = tiny.experiment(folder)
    given = replace(experiment.first_stage, run=first_stage)
    for kind, images in (("jit", 0), ("pmap", 2)):
        train = replace(experiment.train, steps=2, devices=kind, sample_every=images)
        training.train(replace(experiment, first_stage=given, train=train), Path(out) / kind)
    train_adapters(Path(first_stage).parent, Path(out))
    np.save(Path(out) / "drawn.npy", drawn_with_both(Path(first_stage).parent, Path(out)))


ADAPTERS = {"outlines": T2IAdapter(), "style": LoRA(rank=2)}


def train_adapters(base: Path, out: Path) -> None:
    """Each adapter on the same base, two steps."""
    train = Train(steps=2, save_every=2, log_every=1, sample_every=0)
    for name, adapter in ADAPTERS.items():
        optim = Optim(lr=1e-2, ema_decay=0.5)
        experiment = AdapterExperiment(str(base), adapter=adapter, optim=optim, train=train)
        training.train(experiment, out / name)


def drawn_with_both(base: Path, out: Path) -> np.ndarray:
    """Images of the base with both adapters, uint8 [8, H, W, 3]."""
    Image.fromarray(np.eye(tiny.SIZE, dtype=np.uint8) * 255).save(out / "edges.png")
    words = [f"{out / name}:{scale}" for name, scale in zip(ADAPTERS, (2, 3), strict=True)]
    described = runs.attach(runs.describe(base), words)
    options = {"adapter": words, "hint": (str(out / "edges.png"),), "batch_size": 8}
    request = resolve(described, num=8, steps=2, **options)
    return sampling.draw(runs.with_weights(described), request).images


def check_gathered() -> None:
    """Each device hears the numbers of all examples, in the order of the global batch."""
    x = jax.random.permutation(jax.random.key(0), 1000)[:16]

    def gather(x, position):
        return all_gather(x, position, 16, lambda x: jax.lax.pmean(x, "i"))

    precomputed = jax.pmap(gather, "i")(x.reshape(8, 2), jax.numpy.arange(16).reshape(8, 2))
    assert (precomputed == x).all(), precomputed


def check_contrastive() -> None:
    """Images find their captions among those of all devices: loss and gradients are of one."""
    model = CLIP(Architecture(8, 1, 2, 6, 4, 8), TextArchitecture(8, 1, 2, 5, 16))
    objective = contrastive_objective(model, ContrastiveLoss(), 16)
    params = init_clip(model, ContrastiveLoss(), jax.random.key(0))
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.uniform(-1, 1, (16, 8, 8, 3)).astype("f"),
        "tokens": rng.integers(0, 16, (16, 5), np.int32),
        "position": np.arange(16, dtype=np.int32),
    }

    def outcome(average, params, batch):
        return objective.outcome(params, batch, None, None, average)[:2]

    alone = jax.jit(functools.partial(outcome, lambda x: x))
    expected = alone(params, batch)
    assert not np.allclose(expected[0]["clip"]["text"]["position"], 0.0, atol=1e-3)
    by_mesh = devices("jit")
    found = [alone(by_mesh.replicate(params), by_mesh.split(batch))]
    by_pmap = functools.partial(outcome, lambda x: jax.lax.pmean(x, "i"))
    spread = {name: x.reshape(8, 2, *x.shape[1:]) for name, x in batch.items()}
    each = jax.pmap(by_pmap, "i", in_axes=(None, 0))(params, spread)
    for device in (0, 7):
        found.append(jax.tree.map(lambda x, at=device: x[at], each))
    for one in found:
        tiny.assert_close(one, expected, rtol=1e-3, atol=1e-3)


if __name__ == "__main__":
    main(*sys.argv[1:])
