"""A small unCLIP on this side, from a caption to an image, beside the stored reference.

python -m tests.parity.cases.unclip     prints how far they are apart
"""

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from ldm_jax import config as c
from ldm_jax.convert.karlo import Found, params_of, tables
from ldm_jax.convert.karlo_settings import experiments, of_pipeline
from ldm_jax.diffusion import sampling
from ldm_jax.sampling.generate import make_generate
from ldm_jax.weights import table
from ldm_jax.weights.names import clip as clip_names
from tests.parity import compare
from tests.parity.cases import unclip_cases as cases
from tests.parity.cases.glide import with_noise
from tests.parity.cases.networks import channels_first, channels_last
from tests.parity.folders import ARRAYS

STAGES = {"prior": "prior", "decoder": "decoder", "upsampler": "super_res"}  # their inputs' names


class Numbers:
    """A tokenizer of the empty caption alone."""

    def to_str(self) -> str:
        return type(self).__name__

    def encode(self, caption: str) -> SimpleNamespace:
        return SimpleNamespace(ids=list(cases.IDS[0]))


@functools.cache
def described() -> tuple[dict[str, c.Experiment], Found]:
    """What the files of diffusers say, and their weights."""
    each = experiments(of_pipeline(cases.CONFIG))
    caption = each["prior"].conditions[0]
    rows = {"text_encoder": clip_names.captions(caption, cases.DIM, "transformers")}
    for part, one in each.items():
        rows |= tables(part, one, "diffusers")
    states = {name: cases.state(name, table.shapes(own)) for name, own in rows.items()}
    return each, Found(states, "diffusers", cases.CONFIG)


def draw(part: str, inputs: dict[str, Any]) -> np.ndarray:
    """The embedding or the image of a stage."""
    each, found = described()
    one, stage = each[part], STAGES[part]
    model, params = one.build({"tokens": Numbers()}), params_of(part, one, found)
    start, noise = cases.start(stage), cases.noise(stage)
    if part == "prior":
        start, noise = (x[..., None, None, :] for x in (start, noise))
    else:
        start, noise = channels_last(start), np.moveaxis(noise, 2, -1)
    settings = one.sampling
    if part != "upsampler":
        settings = replace(settings, steps=cases.STEPS, guidance=cases.GUIDANCE)
    generate = make_generate(model, lambda: with_noise(noise), one.data.image_size)
    return generate(
        params,
        inputs,
        np.zeros(1, np.uint32),
        sampling.times(settings, model.process),
        np.float32(settings.guidance),
        {},
        start,
    )


def pairs() -> compare.Pairs:
    """Ours and the reference, by the name of the stage."""
    words = {"tokens": cases.IDS[1:].astype(np.int32)}
    with jax.default_matmul_precision("highest"):
        embedding = draw("prior", words)
        small = draw("decoder", {**words, "image_embedding": embedding})
        large = draw("upsampler", {"low_resolution": small})
    found = {
        "prior": embedding,
        "decoder": channels_first(small),
        "upsampler": channels_first(large),
    }
    with np.load(ARRAYS / "unclip.npz") as file:
        return {name: (np.asarray(x), file[name]) for name, x in found.items()}


if __name__ == "__main__":
    print(compare.table("unCLIP", pairs()))
