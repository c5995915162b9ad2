"""Whole pipelines of a small Stable Diffusion on this side, beside the stored reference.

python tests/parity/pipelines.py     prints how far they are apart
"""

import functools
from pathlib import Path

import compare
import jax
import jax.numpy as jnp
import numpy as np
import pipeline_cases as cases
from networks import channels_first, channels_last

from ldm_jax import build, sampling
from ldm_jax import config as c
from ldm_jax.autoencoders.latents import scaled
from ldm_jax.convert import clip, diffusers, diffusers_model, table
from ldm_jax.diffusion.times import later
from ldm_jax.pipelines.generate import Told, make_generate

HERE = Path(__file__).parent
LARGEST = 1e3  # of latents, which images are not


def experiment(task: str) -> c.Experiment:
    """The model as diffusers' configurations describe it."""
    unet, seen, side = diffusers_model.read_unet(cases.UNET | {"in_channels": cases.channels(task)})
    assert (seen, side) == (cases.channels(task), cases.SIDE)
    return c.Experiment(
        first_stage=c.FirstStageExperiment(model=diffusers.read_config(cases.VAE).model),
        model=unet,
        condition=diffusers_model.read_text(cases.TEXT),
        beside=c.Inpainting(form="stable_diffusion") if task == "inpainting" else None,
        diffusion=diffusers_model.read_scheduler(cases.SCHEDULER),
    )


@functools.cache
def params(task: str) -> dict:
    """The weights of each component, by diffusers' names."""
    made = experiment(task)
    rows = build.build_model_names(made).table
    inside = [
        r._replace(path=r.path.removeprefix("denoiser/")) for r in rows if "denoiser/" in r.path
    ]
    names = {
        "unet": diffusers_model.unet_names(inside, len(made.model.channel_mults)),
        "vae": build.build_diffusers_names(made.first_stage.model),
        "text_encoder": clip.transformers_names(made.condition),
    }
    found = {
        name: table.to_here(rows, cases.weights(name, table.shapes(rows)))
        for name, rows in names.items()
    }
    scale = np.full(4, cases.VAE["scaling_factor"], np.float32)
    first_stage = found["vae"] | {"shift": np.zeros(4, np.float32), "scale": scale}
    return {
        "denoiser": found["unet"],
        "first_stage": first_stage,
        "conditioner": found["text_encoder"],
    }


def ours(task: str, sampler: str) -> np.ndarray:
    """The latents at the end, laid out as diffusers'."""
    model = _model(task)
    grid, *to_data = cases.SAMPLERS[sampler][2].split(" to ")
    asked = c.Sampling(sampler=sampler, steps=cases.STEPS, grid=grid)
    times = sampling.grid(asked, model.process)
    times[-1] = 0 if to_data else times[-1]
    inputs = {"tokens": jnp.asarray(cases.IDS)}
    told = Told(negative={"tokens": jnp.asarray(cases.EMPTY)})
    image, mask = channels_last(cases.IMAGE), channels_last(cases.MASK)
    if task == "inpainting":
        inputs |= {"image": image, "mask": mask}
    if task == "image":
        told, times = told._replace(image=image), later(times, cases.STRENGTH)
    generate = make_generate(model, build.build_sampler(sampler), cases.SIDE * cases.FACTOR)
    seeds, noise = np.arange(cases.B, dtype=np.uint32), channels_last(cases.NOISE)
    with jax.default_matmul_precision("highest"):
        found = generate(
            params(task),
            inputs,
            seeds,
            times,
            cases.GUIDANCE,
            sampling.arguments(asked),
            noise,
            told,
        )
    return np.asarray(channels_first(found)) * LARGEST


def _model(task: str):
    """The model whose first stage answers with the mean, and whose pictures are its latents."""
    made = experiment(task)
    condition = made.condition
    model = build.build_model(made, _Empty(condition))
    stage = model.first_stage

    def encode(params, images, keys):
        return scaled(params, stage.posterior(params, images).mean)

    return model._replace(
        first_stage=stage._replace(encode=encode, decode=lambda params, z: z / LARGEST)
    )


class _Empty:
    """A tokenizer that knows the empty caption."""

    def __init__(self, condition: c.CLIPText):
        self.ids = cases.EMPTY[0]
        self.length = condition.length

    def encode(self, caption: str):
        assert not caption
        return self


def pairs(task: str, sampler: str) -> compare.Pairs:
    """Ours and the reference."""
    name = f"{task} {sampler}"
    with np.load(HERE / "pipelines.npz") as reference:
        return {name: (ours(task, sampler), reference[name])}


if __name__ == "__main__":
    for case in cases.CASES:
        print(compare.table("pipeline", pairs(*case)))
