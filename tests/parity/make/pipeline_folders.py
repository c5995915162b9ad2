"""Folders of whole models that this project writes, read by diffusers, and what both draw.

    python -m tests.parity.make.pipeline_folders write DIR    with this project
    pip install torch==2.13.0 diffusers==0.42.1 transformers==5.23.0
    python -m tests.parity.make.pipeline_folders check DIR                       with diffusers

`write` draws small models, exports them to DIR/KIND, and keeps the latents that they end with for a
prompt; the last kind is the first after fine-tuning on a few images. `check` loads the folders,
draws the same, and prints how far the latents are apart.
"""

import sys
from pathlib import Path

import numpy as np

PROMPT, STEPS, GUIDANCE = "ab cd abcd", 5, 3.0
KINDS = ("text", "inpainting", "variations", "unclip", "fine-tuned")
NOISE = np.random.default_rng(0).standard_normal((1, 4, 4, 4), dtype=np.float32)
IMAGE = np.tanh(np.random.default_rng(1).standard_normal((1, 8, 8, 3), dtype=np.float32))
PHOTO = np.random.default_rng(2).standard_normal((1, 8, 8, 3), dtype=np.float32)
MASK = (np.arange(8) > 3).astype(np.float32)[None, :, None, None] * np.ones((1, 8, 8, 1), "f")


def write(folder: Path) -> None:
    """Exports the models, and draws."""
    import jax.numpy as jnp

    from ldm_jax import convert, runs
    from tests.convert.diffusers_model_test import MERGES, experiment
    from tests.support import tiny
    from tests.support.finetuned import finetune

    folder.mkdir(parents=True)
    (folder / "merges.txt").write_text(MERGES)
    for kind in ("text", "inpainting", "variations", "unclip"):
        made = experiment(kind)
        merges = None if kind == "variations" else folder / "merges.txt"
        tokenizers = convert.model.tokenizers_of(made, merges)
        model = made.build(tokenizers)
        scaling = {"shift": jnp.zeros(4), "scale": jnp.full(4, made.latent_scale)}
        drawn = tiny.drawn(model.first_stage.init) | scaling
        params = {**tiny.drawn(model.init), "first_stage": drawn}
        runs.write_imported(folder / f"{kind}-run", made, params, None, tokenizers)
        convert.convert(folder / f"{kind}-run", folder / kind)
        draw(folder / f"{kind}-run", folder / f"{kind}.npz")
    images = tiny.write_folder(folder / "images")
    _, after, exported = finetune(folder / "text", images, tiny.SIZE, folder / "finetune")
    exported.rename(folder / "fine-tuned")
    draw(after, folder / "fine-tuned.npz")


def draw(run: Path, file: Path) -> None:
    """Keeps the latents that a run ends with."""
    import jax

    from ldm_jax import runs
    from ldm_jax.diffusion import sampling
    from ldm_jax.diffusion.samplers.names import build_sampler
    from ldm_jax.encoders.tokenizers import tokenizer as tokens
    from ldm_jax.sampling.generate import make_generate

    found = runs.load(run)
    stage = found.model.first_stage
    model = found.model._replace(first_stage=stage._replace(decode=lambda _, z: z / 1e3))
    given = {"image": IMAGE, "mask": MASK, "picture": PHOTO}
    for entry, tokenizer in found.tokenizers.items():
        given[entry] = tokens.encode(tokenizer, PROMPT)[None]
    null = found.model.conditioner.null(1)
    inputs = null | {name: x for name, x in given.items() if name in null}
    asked = sampling.Sampling(sampler="ddim", steps=STEPS, spacing="uniform")
    size = found.experiment.data.image_size
    generate = make_generate(model, build_sampler("ddim"), size)
    times, options = sampling.times(asked, model.process), sampling.arguments(asked)
    with jax.default_matmul_precision("highest"):
        seeds = np.zeros(1, np.uint32)
        latents = generate(found.params, inputs, seeds, times, GUIDANCE, options, NOISE)
    np.savez(file, latents=np.asarray(latents) * 1e3)


def check(folder: Path) -> None:
    """Loads them strictly, and draws."""
    from unittest import mock

    import torch
    from diffusers import DiffusionPipeline
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mean
    first = {name: torch.tensor(np.moveaxis(x, -1, 1)) for name, x in
             {"latents": NOISE, "image": IMAGE, "mask_image": MASK}.items()}  # fmt: skip
    image = torch.tensor(np.moveaxis(PHOTO, -1, 1))
    for kind in KINDS:
        pipe = DiffusionPipeline.from_pretrained(folder / kind)
        pipe.set_progress_bar_config(disable=True)
        given = first if kind == "inpainting" else {"latents": first["latents"]}
        more = {"strength": 1.0} if kind == "inpainting" else {"height": 8, "width": 8}
        given = given | ({} if kind == "variations" else {"prompt": PROMPT})
        given |= {"image": image} if kind in ("variations", "unclip") else {}
        with mock.patch(f"{type(pipe).__module__}.randn_tensor", lambda x, **_: torch.zeros(x)):
            theirs = pipe(
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                output_type="latent",
                **given,
                **more,
            ).images
        ours = np.moveaxis(np.load(folder / f"{kind}.npz")["latents"], -1, 1)
        apart = np.abs(ours - theirs.numpy()).max() / np.abs(ours).max()
        print(f"{kind}: {type(pipe).__name__}, {apart:.1e} of the largest latent apart")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
