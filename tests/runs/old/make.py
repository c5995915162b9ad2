"""Makes the runs beside it, with the code of commit e826feb, in whose tests/ it is started:

PYTHONPATH=.:tests python make.py OUT

Each OUT/NAME.tar.xz has `run/` after two steps of each stage, and expected.npz: four images that it
draws, the losses of the two steps that follow, and for each array of the weights after these the
mean of its absolute values.
"""

import os
import shutil
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import tiny
import tiny_bert

import sample
from ldm_jax import training
from ldm_jax.config import Inpainting

jax.config.update("jax_disable_most_optimizations", True)
PROMPTS = ["a red block at the top", "a blue block at the bottom"]
WORDS = ["run", "--num", "4", "--seed", "7", "--steps", "4", "--prompt", *PROMPTS]


def steps(experiment, count):
    """The same with as many steps of each stage."""
    train = replace(experiment.train, steps=count, keep=1)
    first = replace(experiment.first_stage, train=train)
    return replace(experiment, train=train, first_stage=first)


def narrow(experiment):
    """The same with few channels, so that its files are small."""
    first = experiment.first_stage
    first = replace(first, model=replace(first.model, channels=4, norm_groups=2))
    model = replace(experiment.model, channels=4, norm_groups=2)
    return replace(experiment, first_stage=first, model=model)


def captions():
    """Captions by a transformer that is trained along; a KL first stage."""
    return tiny.experiment("images"), []


def inpainting():
    """Captions by a BERT from a file, and a mask; a VQ first stage and discriminator."""
    first = tiny.vq_experiment("images")
    first = replace(first, data=replace(first.data, path=None, image_size=None, upscale=False))
    bert = replace(tiny_bert.BERT, weights="bert")
    words = ["--init-image", "images/03.png", "--mask", "mask.png"]
    experiment = tiny_bert.experiment("images", condition=bert, beside=Inpainting())
    return replace(experiment, first_stage=first), words


def make(out, experiment, words):
    """The run of an experiment and what is expected of it, in one file."""
    experiment = narrow(experiment)
    training.train(steps(experiment, 2), Path("run"))
    with tarfile.open(out, "w:xz") as archive:
        archive.add("run", filter=lambda entry: None if "events.out" in entry.name else entry)
        sample.main([*WORDS, *words, "--out", "drawn"])
        images = np.load("drawn/samples.npz")["arr_0"]
        following = steps(experiment, 4)
        first = replace(following.first_stage, train=steps(experiment, 2).train)
        training.train(replace(following, first_stage=first), Path("run"))
        losses = [float(row["loss"]) for row in tiny.rows(Path("run"))][2:]
        state = {k: v for k, v in tiny.saved(Path("run"), 4).items() if k == "params"}
        means = {name: np.abs(x).mean() for name, x in tiny.arrays(state).items()}
        np.savez_compressed("expected.npz", images=images, losses=losses, **means)
        archive.add("expected.npz")
    shutil.rmtree("run")
    shutil.rmtree("drawn")


if __name__ == "__main__":
    OUT = Path(sys.argv[1]).absolute()
    os.chdir(sys.argv[2])
    tiny.write_folder(Path("images"))
    tiny_bert.write_folder(Path("bert"))
    mask = np.zeros((tiny.SIZE, tiny.SIZE), np.uint8)
    mask[2:6, 2:6] = 255
    tiny.Image.fromarray(mask).save("mask.png")
    for kind in (captions, inpainting):
        make(OUT / f"{kind.__name__}.tar.xz", *kind())
