"""Sound inputs, which the fuzz makes malformed ones of."""

import dataclasses
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tokenizers import Tokenizer

from ldm_jax import checkpoint, runs
from ldm_jax import config as c
from ldm_jax.adapters.settings import Base
from ldm_jax.convert import convert
from ldm_jax.data import image_files, latents, pipeline
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling.view import view
from ldm_jax.train_step.optimizer import optimizer
from ldm_jax.train_step.state import minimise, new_state
from ldm_jax.weights.formats.files import read_weights

SIZE, COUNT, LENGTH = 16, 4, 8  # pixels a side, images, tokens of a caption
CAPTIONS = [f"a {color} block" for color in ("red", "green", "blue", "grey")]
TRAINED = ("denoiser", "conditioner")
ADAPTERS = (
    c.ControlNet(stem=(4, 8)),
    c.ControlNet(stem=(4, 8), layout="diffusers"),
    c.T2IAdapter(),
    c.IPAdapter(encoder=c.ImageEncoder(dim=6)),
    c.LoRA(rank=2),
    c.LoRA(rank=2, dora="rows"),
    c.LoRA(rank=2, layout="diffusers"),
    c.LoHa(rank=2),
    c.LoKr(rank=2),
    c.TextualInversion(token="<x>", vectors=2),
)


def experiment(images: Path) -> c.Experiment:
    """Both stages, of a few thousand parameters, with captions and labels."""
    return c.Experiment(
        first_stage=c.FirstStageExperiment(
            model=c.KLAutoencoder(
                channels=32, channel_mults=(1,), num_res_blocks=1, z_channels=2, mid_attention=False
            ),
        ),
        model=c.UNet(
            channels=8, channel_mults=(1,), num_res_blocks=1, attention_factors=(), num_heads=2,
            norm_groups=4,
        ),
        conditions=(
            c.Text(dim=8, layers=1, num_heads=2, head_dim=4, length=LENGTH, vocab_size=64),
            c.Label(num_classes=COUNT, dim=32, slot="vector"),
        ),
        diffusion=c.Diffusion(schedule="cosine", steps=50, prediction="v"),
        sampling=c.Sampling(steps=4, spacing="trailing", guidance=2.0),
        data=c.Data(path=str(images), image_size=SIZE, batch_size=COUNT),
        train=c.Train(steps=4, save_every=2),
    )  # fmt: skip


class Sound:
    """Sound inputs, each made in a folder when it is first asked for."""

    def __init__(self, place: Path):
        self.place = place
        place.mkdir(parents=True)

    @cached_property
    def pixels(self) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)

    @cached_property
    def images(self) -> Path:
        folder = self.place / "images"
        for i in range(COUNT):
            image_files.save(folder / f"{i:02}.png", self.pixels[i])
        return folder

    @cached_property
    def experiment(self) -> c.Experiment:
        return experiment(self.images)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return tokens.learn(CAPTIONS, 64, LENGTH)

    @cached_property
    def params(self) -> Any:
        model = self.experiment.build({"tokens": self.tokenizer})
        rng = np.random.default_rng(0)
        return jax.tree.map(
            lambda x: rng.normal(0, 0.1, x.shape).astype(np.float32), runs.model_shapes(model)
        )

    @cached_property
    def state(self) -> Any:
        params = {name: self.params[name] for name in TRAINED}
        return new_state(params, optimizer(self.experiment.optim, 1), minimise(None, TRAINED))

    @cached_property
    def target(self) -> Any:
        """The shapes of the state, with those of frozen parts."""
        return devices("jit").target(self.state.replace(params={**self.params}))

    @cached_property
    def batches(self) -> Any:
        source, _ = pipeline.open_source(self.experiment.data)
        return pipeline.batches(self.experiment.data, source, seed=0, keys=())

    @cached_property
    def run(self) -> Path:
        """A run that was trained for no step, with a checkpoint and frozen weights."""
        run = self.place / "run"
        info = pipeline.DataInfo(COUNT, ("red", "green", "blue", "grey"), True, ("block",))
        runs.write(run, self.experiment, {"tokens": self.tokenizer}, info)
        checkpoint.save_frozen(run, {"first_stage": self.params["first_stage"]})
        with checkpoint.manager(run) as saves:
            checkpoint.save(saves, self.state, self.batches)
        return run

    @cached_property
    def described(self) -> runs.Trained:
        return runs.describe_any(self.run)

    @cached_property
    def view(self) -> Any:
        return view(self.described)

    @cached_property
    def latents(self) -> Path:
        folder = self.place / "latents"
        folder.mkdir()
        about = latents.Described(
            source="images train", first_stage="0", image_size=SIZE, shape=(16, 16, 2), flips=True,
            drawn=True, dtype="float32", shards=1, class_names=("a", "b"), has_labels=True,
            has_captions=True, tokens=(2, 3), conditioner="0",
        )  # fmt: skip
        (folder / latents.INDEX).write_text(json.dumps(dataclasses.asdict(about)), "utf-8")
        np.savez(folder / latents.EMPTY, tokens=np.zeros((2, 3), np.float32))
        writer = ArrayRecordWriter(str(latents.shard(folder, 0, 1)), "group_size:1")
        for i in range(COUNT):
            header = {"name": f"{i}.png", "label": i % 2, "text": CAPTIONS[i]}
            record = np.zeros(about.stored, np.float32), header, np.zeros((1, 6), np.float32)
            writer.write(latents.pack(*record))
        writer.close()
        return folder

    @cached_property
    def first_stage(self) -> Path:
        """The first stage's own run."""
        run, data = self.place / "first_stage", self.experiment.data
        experiment = dataclasses.replace(self.experiment.first_stage, data=data)
        runs.write_imported(run, experiment, self.params["first_stage"])
        return run

    @cached_property
    def state_dict(self) -> dict[str, np.ndarray]:
        """The first stage's weights under the original's names."""
        file = self.place / "first_stage.safetensors"
        convert(self.first_stage, file)
        return dict(read_weights(file))

    @cached_property
    def diffusers(self) -> Path:
        """The first stage as diffusers writes it."""
        folder = self.place / "diffusers"
        convert(self.first_stage, folder)
        return folder

    @cached_property
    def adapters(self) -> list[tuple[dict[str, np.ndarray], dict[str, str]]]:
        """The arrays and metadata of a file of each kind of adapter."""
        described, files = self.described, []
        base = Base(described.experiment, described.model, described.tokenizers)
        for settings in ADAPTERS:
            read = settings.read(base)
            own = settings.build(read).init(jax.random.key(0), self.params)
            files.append(settings.to_file(own, read))
        return files
