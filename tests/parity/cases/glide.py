"""GLIDE on this side: its small networks and trajectories beside the stored reference.

python -m tests.parity.cases.glide     prints how far they are apart
"""

from types import SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax import config as c
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.guidance.classifier import similarity
from ldm_jax.diffusion.samplers import ddpm
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.encoders.clip import noised
from ldm_jax.sampling.clip_guidance import towards_captions
from ldm_jax.sampling.generate import Extras, make_generate
from ldm_jax.types import Batch, DiffusionModel, Params, Sampler
from ldm_jax.weights import table as tables
from ldm_jax.weights.names import glide as names
from tests.parity import compare
from tests.parity.cases import drawn
from tests.parity.cases import glide_cases as cases
from tests.parity.cases.networks import channels_first, channels_last
from tests.parity.folders import ARRAYS

ANCESTRAL = c.Sampling("ddpm", cases.STEPS, "linspace")
UPSAMPLING = c.Sampling("ddim", 27, times=c.FAST27, noise_scale=cases.NOISE_SCALE)


class Numbers:
    """A tokenizer of as many tokens as the published one, of the empty caption alone."""

    padding = {"pad_id": cases.PADDING}  # noqa: RUF012

    def get_vocab_size(self) -> int:
        return cases.TOKENS

    def to_str(self) -> str:
        return type(self).__name__

    def encode(self, caption: str) -> SimpleNamespace:
        return SimpleNamespace(ids=[cases.PADDING] * cases.LENGTH)


def experiment(kind: str) -> c.Experiment:
    """One of the four models."""
    conditions: tuple = (cases.TEXT,)
    conditions += (c.Inpainting(form="glide"),) if "inpaint" in kind else ()
    conditions += (c.LowResolution(factor=4, enlarge=True),) if "upsample" in kind else ()
    schedule = "linear" if "upsample" in kind else "cosine"
    return c.Experiment(
        first_stage=c.FirstStageExperiment(model=c.Pixels()),
        latent_scale=1.0,
        model=cases.UNET,
        conditions=conditions,
        diffusion=c.Diffusion(schedule, 1000, 1e-4, 0.02, learned_variance=True),
    )


def built(kind: str, prefix: str | None = None) -> tuple[DiffusionModel, Params]:
    """The model with weights drawn from the original names."""
    of = experiment(kind)
    table = of.original_names().table
    prefix = f"{kind}." if prefix is None else prefix
    params = tables.to_here(table, cases.state(tables.shapes(table), prefix))
    stage = {"shift": jnp.zeros(3), "scale": jnp.ones(3)}
    return of.build({"tokens": Numbers()}), {**params, "first_stage": stage}


def inputs(kind: str) -> dict:
    """What the conditioner reads."""
    n = 32 if "upsample" in kind else 16
    found = {"tokens": jnp.asarray(cases.IDS[:1])}
    if "inpaint" in kind:
        found |= {"image": channels_last(cases.IMAGE[n]), "mask": 1 - channels_last(cases.MASK[n])}
    if "upsample" in kind:
        found["low_resolution"] = channels_last(cases.LOW)
    return found


def clip(prefix: str = "clip_") -> Params:
    """The noised CLIP's weights."""
    rows = {
        "text": (names.noised_text_encoder(cases.CLIP), f"{prefix}text."),
        "vision": (names.noised_image_encoder(cases.CLIP), f"{prefix}image."),
    }
    return {
        name: tables.to_here(table, drawn.state(tables.shapes(table), own))
        for name, (table, own) in rows.items()
    }


def with_noise(noise: np.ndarray) -> Sampler:
    """Ancestral sampling whose k-th step has the noise [K, 1, h, w, c] that is given for it."""
    own = ddpm.ddpm()

    def step(denoise, process, keys, z, t, s, k):
        with mock.patch.object(ddpm, "normal_like", lambda keys, z: jnp.asarray(noise)[k]):
            z, _ = own.step(denoise, process, keys, z, t, s, ())
        return z, k + 1

    return own._replace(step=step, init=lambda z: 0)


def trajectory(
    kind: str,
    settings: c.Sampling,
    noise: np.ndarray | None = None,
    params: Params | None = None,
    guides: Batch | None = None,
) -> np.ndarray:
    """The image [1, 3, h, w] at the end, guided by the caption and the noised CLIP."""
    model, own = built(kind)
    process, start = model.process, channels_last(cases.X[32 if "upsample" in kind else 16])
    sampler = (lambda: with_noise(noise)) if noise is not None else build_sampler(settings.sampler)
    generate = make_generate(
        model,
        sampler,
        start.shape[1:3],
        guides=[towards_captions(cases.CLIP, process)] if guides else [],
    )
    images = generate(
        {**own, **(params or {})},
        inputs(kind),
        np.zeros(1, np.uint32),
        sampling.times(settings, process),
        np.float32(settings.guidance),
        sampling.arguments(settings),
        start,
        Extras(noise_scale=settings.noise_scale, guides=guides),
    )
    return np.asarray(channels_first(images))


def networks() -> dict[str, np.ndarray]:
    """One call of each model, and of the noised CLIP."""
    found = {}
    for kind in cases.KINDS:
        model, params = built(kind)
        x = channels_last(cases.X[32 if "upsample" in kind else 16])

        @jax.jit
        def call(params, given, model=model, x=x):
            cond = model.condition(params, given)
            return channels_first(model.denoise(params, x, jnp.asarray(cases.T), cond))

        found[f"{kind} y"] = call(params, inputs(kind))
    return found


def clip_arrays() -> dict[str, np.ndarray]:
    """What the noised CLIP computes."""
    x, t = channels_last(cases.X[16]), jnp.asarray(cases.T)

    @jax.jit
    def compute(params):
        def embed(z, t):
            return noised.embed_images(cases.CLIP, params, z, t)

        text = noised.embed_captions(cases.CLIP, params, jnp.asarray(cases.CLIP_IDS))
        alike = similarity(embed, text, cases.CLIP.logit_scale)
        gradient = jax.grad(lambda z: jnp.sum(alike(z, t)))(x)
        return text, embed(x, t), channels_first(cases.CLIP_SCALE * gradient)

    return dict(zip(("clip text", "clip image", "clip gradient"), compute(clip()), strict=True))


def trajectories() -> dict[str, np.ndarray]:
    """Whole trajectories."""
    guided = c.Sampling("ddpm", cases.STEPS, "linspace", guidance=cases.GUIDANCE)
    noise = np.moveaxis(cases.NOISE, 2, -1)
    scale = jnp.float32([cases.CLIP_SCALE])
    captions = {"captions": jnp.asarray(cases.CLIP_IDS), "clip_scale": scale}
    return {
        "guided": trajectory("base", guided, noise),
        "inpainted": trajectory("inpaint", guided, noise),
        "clip guided": trajectory("base", ANCESTRAL, noise, {"clip": clip()}, captions),
        "upsampled": trajectory("upsample", UPSAMPLING),
    }


CASES = {"networks": networks, "clip": clip_arrays, "trajectories": trajectories}


def pairs(case: str) -> compare.Pairs:
    """Ours and the reference, by the name of the array."""
    with jax.default_matmul_precision("highest"):
        found = CASES[case]()
    with np.load(ARRAYS / "glide.npz") as file:
        return {name: (np.asarray(x), file[name]) for name, x in found.items()}


if __name__ == "__main__":
    for name in CASES:
        print(compare.table(name, pairs(name)))
