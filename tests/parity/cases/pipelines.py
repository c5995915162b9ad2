"""Whole pipelines of a small Stable Diffusion on this side, beside the stored reference.

python -m tests.parity.cases.pipelines     prints how far they are apart
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import config as c
from ldm_jax.autoencoders.latents import scaled
from ldm_jax.conditioning.depth import normalised, resized
from ldm_jax.convert import recognise
from ldm_jax.convert.diffusers_model import names
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.diffusion.spacing import later
from ldm_jax.sampling.generate import Extras, make_generate
from ldm_jax.weights import table
from ldm_jax.weights.names import diffusers_model, diffusers_scheduler
from tests.parity import compare
from tests.parity.cases import pipeline_cases as cases
from tests.parity.cases.networks import channels_first, channels_last
from tests.parity.folders import ARRAYS

LARGEST = 1e3  # of latents, which images are not


def experiment(task: str) -> c.Experiment:
    """The model as diffusers' configurations describe it."""
    said = cases.unet(task)
    fields, seen, side = diffusers_model.read_unet(said)
    assert (seen, side) == (said["in_channels"], cases.SIDE)
    beside = {
        "inpainting": c.Inpainting(form="stable_diffusion"),
        "depth": c.Depth(),
        "upscaling": c.LowResolution(factor=cases.FACTOR, max_noise=350),
        "unclip": c.UnCLIP(**diffusers_model.read_vision(cases.VISION)),
    }
    condition = c.CLIPText(**diffusers_model.read_text(cases.TEXT))
    if task == "variation":
        condition = c.CLIPImage(**diffusers_model.read_vision(cases.VISION))
    return c.Experiment(
        first_stage=c.FirstStageExperiment(model=recognise.of_diffusers(cases.VAE).model),
        model=c.UNet(**fields),
        conditions=(condition, *([beside[task]] if task in beside else [])),
        diffusion=c.Diffusion(**diffusers_scheduler.read_scheduler(cases.SCHEDULER)),
    )


@functools.cache
def params(task: str) -> dict:
    """The weights of each component, by diffusers' names."""
    rows, state = [], {}
    for name, own in names(experiment(task)).items():
        rows += table.under(own, there=f"{name}.")
        drawn = cases.weights(name, table.shapes(own))
        state |= {f"{name}.{key}": weight for key, weight in drawn.items()}
    scale = np.full(4, cases.VAE["scaling_factor"], np.float32)
    found = table.to_here(rows, state)
    found["first_stage"] |= {"shift": np.zeros(4, np.float32), "scale": scale}
    return found


def ours(task: str, sampler: str) -> np.ndarray:
    """The latents at the end, laid out as diffusers'."""
    model = model_of(task)
    grid, *to_data = cases.SAMPLERS[sampler][2].split(" to ")
    asked = c.Sampling(sampler=sampler, steps=cases.STEPS, spacing=grid)
    times = sampling.times(asked, model.process)
    times[-1] = 0 if to_data else times[-1]
    extras, inputs = Extras(), _beside(task)
    if task != "variation":
        extras = Extras(negative={"tokens": jnp.asarray(cases.EMPTY)})
        inputs |= {"tokens": jnp.asarray(cases.IDS)}
    if task in cases.STRENGTHS:
        extras = extras._replace(image=channels_last(cases.IMAGE))
        times = later(times, cases.STRENGTHS[task])
    generate = make_generate(model, build_sampler(sampler), cases.SIDE * cases.FACTOR)
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
            extras,
        )
    return np.asarray(channels_first(found)) * LARGEST


def _beside(task: str) -> dict:
    """Conditioning inputs in addition to the captions, or instead of them."""
    if task == "inpainting":
        return {"image": channels_last(cases.IMAGE), "mask": channels_last(cases.MASK)}
    if task == "depth":
        each = [normalised(resized(x, (cases.SIDE, cases.SIDE))) for x in cases.DEPTH]
        return {"depth": jnp.asarray(each)[..., None]}
    if task == "upscaling":
        return {
            "low_resolution": channels_last(cases.SMALL),
            "low_resolution_noise": channels_last(cases.SMALL_NOISE),
            "noise_level": jnp.full(cases.B, cases.NOISE_LEVEL),
        }
    if task in ("variation", "unclip"):
        photo = {"picture": channels_last(cases.PHOTO)}
        noise = {
            "picture_noise": jnp.asarray(cases.IMAGE_NOISE),
            "noise_level": jnp.full(cases.B, cases.IMAGE_LEVEL),
        }
        return photo | (noise if task == "unclip" else {})
    return {}


def model_of(task: str):
    """The model whose first stage gives the mean, and whose images are its latents."""
    made = experiment(task)
    model = made.build({"tokens": None if task == "variation" else _Empty(made.conditions[0])})
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

    def to_str(self) -> str:
        return f"empty {self.ids} {self.length}"


def pairs(task: str, sampler: str) -> compare.Pairs:
    """Ours and the reference."""
    name = f"{task} {sampler}"
    with np.load(ARRAYS / "pipelines.npz") as reference:
        return {name: (ours(task, sampler), reference[name])}


if __name__ == "__main__":
    for case in cases.CASES:
        print(compare.table("pipeline", pairs(*case)))
