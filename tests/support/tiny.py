"""The smallest models and data that still have every part; shared by the tests."""

import csv
import functools
import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from PIL import Image
from tokenizers import Tokenizer

from ldm_jax import checkpoint
from ldm_jax.config import (
    Adversary,
    AutoencoderLoss,
    Codebook,
    Data,
    Diffusion,
    Experiment,
    FirstStageExperiment,
    KLAutoencoder,
    Optim,
    Sampling,
    Text,
    Train,
    UNet,
    VQAutoencoder,
)
from ldm_jax.diffusion.model import diffusion_model
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.types import Backbone, Conditioner, DiffusionModel, FirstStage
from tests.support import traced_once

SIZE = 8  # pixels a side
MEASURED = ("images_per_second", "data_wait", "teraflops_per_second", "share_of_peak", "memory_gib")
COLORS = {"red": (220, 30, 30), "green": (30, 160, 30), "blue": (30, 30, 220), "grey": (128,) * 3}
PLACES = {"top": np.s_[: SIZE // 2], "bottom": np.s_[SIZE // 2 :]}


def write_folder(root: Path, count: int = 16) -> Path:
    """Half-coloured images with captions and labels: `metadata.jsonl` with text and label."""
    root.mkdir(parents=True)
    rows = []
    for i in range(count):
        color, place = list(COLORS)[i % 4], list(PLACES)[i // 4 % 2]
        image = np.full((SIZE, SIZE, 3), 255, np.uint8)
        image[PLACES[place]] = COLORS[color]
        Image.fromarray(image).save(root / f"{i:02}.png")
        text = f"a {color} block at the {place}"
        rows.append({"file_name": f"{i:02}.png", "text": text, "label": color})
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def experiment(path: str | Path = "images", **changes) -> Experiment:
    """Both stages over a folder of `write_folder`, four steps each, without images."""
    train = Train(steps=4, save_every=2, log_every=1, sample_every=0, num_samples=2)
    optim = Optim(lr=1e-2, warmup=2, ema_decay=0.9)
    default = Experiment(
        first_stage=FirstStageExperiment(
            model=KLAutoencoder(
                channels=8,
                channel_mults=(1, 2),
                num_res_blocks=1,
                z_channels=2,
                norm_groups=4,
                mid_attention=False,
            ),
            data=Data(batch_size=8),
            optim=optim,
            train=train,
        ),
        latent_scale="channels",
        model=UNet(
            channels=8,
            channel_mults=(1,),
            num_res_blocks=1,
            attention_factors=(),  # the middle always attends
            num_heads=2,
            norm_groups=4,
        ),
        conditions=(Text(dim=8, layers=1, num_heads=2, head_dim=4, length=8, vocab_size=64),),
        diffusion=Diffusion(schedule="cosine", steps=20, prediction="v"),
        sampling=Sampling(steps=4, spacing="trailing", guidance=2.0),
        data=Data(path=str(path), image_size=SIZE, batch_size=8),
        optim=optim,
        train=train,
    )
    return replace(default, **changes)


def with_conditions(experiment: Experiment, *more) -> Experiment:
    """The same with further conditions."""
    return replace(experiment, conditions=(*experiment.conditions, *more))


def vq_experiment(path: str | Path, **changes) -> FirstStageExperiment:
    """A VQ first stage with a discriminator and moving codes, over the images of `write_folder`."""
    base = experiment(path)
    default = replace(
        base.first_stage,
        model=VQAutoencoder(
            channels=8,
            channel_mults=(1, 2),
            num_res_blocks=1,
            z_channels=2,
            norm_groups=4,
            mid_attention=False,
            codebook_size=6,
        ),
        loss=AutoencoderLoss(
            reduction="mean",
            codebook=Codebook(update="ema", revive_below=0.2),
            adversary=Adversary(weight=0.5, start=1, channels=4, layers=1, lecam_weight=0.1),
        ),
        data=replace(base.data, image_size=16, upscale=True),
    )
    return replace(default, **changes)


def first_stage(**functions) -> FirstStage:
    """A first stage with these functions and numbers, and no others."""
    return FirstStage(
        **{**dict.fromkeys(FirstStage._fields), "factor": 1, "images": True, **functions}
    )


def denoises(
    denoise, conditioner: Conditioner, stage: FirstStage, process, prediction
) -> DiffusionModel:
    """A model with this function for its network, of (params, z, timestep, cond)."""
    backbone = Backbone(init=None, apply=denoise, shares=True)
    return diffusion_model(backbone, conditioner, stage, process, prediction)


def with_images(experiment: Experiment) -> Experiment:
    """The same, with images after the last step of each stage."""
    first = experiment.first_stage
    first = replace(first, train=replace(first.train, sample_every=first.train.steps))
    train = replace(experiment.train, sample_every=experiment.train.steps)
    return replace(experiment, first_stage=first, train=train)


def drawn(init, *inputs, seed: int = 0):
    """Params of the shapes that `init` gives, all of them random and none zero.

    A new network's last layer is zero, which hides mistakes; and `init` takes long to compile.
    """
    shapes = traced_once.shapes(init, jax.random.key(0), *inputs)
    rng = np.random.default_rng(seed)

    def draw(path, x):
        spread = rng.normal(size=x.shape).astype(np.float32)
        if path[-1].key == "scale":  # of a norm, or of the latents
            return jnp.asarray(1.0 + 0.1 * spread)
        fan_in = np.prod(x.shape[:-1]) if len(x.shape) > 1 else 16
        return jnp.asarray(spread / np.sqrt(fan_in))

    return jax.tree_util.tree_map_with_path(draw, shapes)


def model(experiment: Experiment) -> tuple[DiffusionModel, dict, Tokenizer]:
    """A model of captions such as `write_folder` writes, with drawn params, and its tokenizer."""
    captions = [f"a {color} block at the {place}" for color in COLORS for place in PLACES]
    tokenizer = tokens.learn(
        captions, experiment.conditions[0].vocab_size, experiment.conditions[0].length
    )
    built = experiment.build({"tokens": tokenizer})
    return built, {**drawn(built.init), "first_stage": drawn(built.first_stage.init)}, tokenizer


def keys(count: int, seed: int = 0):
    """One random key an example, [count]."""
    return jax.random.split(jax.random.key(seed), count)


def rows(run: Path) -> list[dict[str, str]]:
    """RUN/metrics.csv without the columns that depend on the machine."""
    with (run / "metrics.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in MEASURED} for row in found]


@functools.cache
def saved(run: Path, step: int) -> dict:
    """All that a checkpoint and RUN/frozen hold, as it is on the disk; not to be changed."""
    folder = (run / "checkpoints" / str(step)).absolute()
    places = {name: folder / name for name in ("params", "ema", "optimizer")}
    if (run / "frozen").is_dir():
        places["frozen"] = (run / "frozen").absolute()
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def target(x):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here)

    with ocp.StandardCheckpointer() as reader:
        items = {
            name: reader.restore(
                place, jax.tree.map(target, reader.metadata(place).item_metadata.tree)
            )
            for name, place in places.items()
        }
    frozen = items.pop("frozen", {})
    items["params"] = checkpoint.merged(frozen, items["params"])
    averaged = {part: x for part, x in frozen.items() if part in items["ema"]}
    items["ema"] = checkpoint.merged(averaged, items["ema"])
    (data,) = (folder / "data").glob("*.json")
    return {**items, "data": np.array(data.read_text())}


def arrays(tree) -> dict[str, np.ndarray]:
    """The leaves of a tree by name, as numpy."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def assert_same(a, b) -> None:
    """Two trees are equal bit for bit."""
    a, b = arrays(a), arrays(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def assert_close(a, b, **tolerance) -> None:
    """Two trees are equal but for rounding."""
    a, b = arrays(a), arrays(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], err_msg=name, **tolerance)


def flat(report: dict) -> dict:
    """A report of sample.py with the options of its request beside the rest."""
    options = {n: x for section in report["request"].values() for n, x in section.items()}
    return {**report, **options}
