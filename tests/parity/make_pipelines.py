"""Makes pipelines.npz: final latents of diffusers' pipelines of Stable Diffusion.

pip install torch==2.13.0 diffusers==0.42.1 transformers==5.23.0
PYTHONPATH=tests/parity python tests/parity/make_pipelines.py
"""

from pathlib import Path
from unittest import mock

import diffusers
import numpy as np
import pipeline_cases as cases
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from transformers import CLIPTextConfig, CLIPTextModel

HERE = Path(__file__).parent
PIPELINES = {
    "text": diffusers.StableDiffusionPipeline,
    "image": diffusers.StableDiffusionImg2ImgPipeline,
    "inpainting": diffusers.StableDiffusionInpaintPipeline,
}


def component(name: str, module: torch.nn.Module) -> torch.nn.Module:
    """A network with its drawn weights."""
    state = cases.weights(name, {key: w.shape for key, w in module.state_dict().items()})
    module.load_state_dict({key: torch.tensor(w) for key, w in state.items()})
    return module.eval()


def network(kind, settings: dict):
    return kind(**{name: value for name, value in settings.items() if name[0] != "_"})


@torch.no_grad()
def latents(task: str, sampler: str) -> np.ndarray:
    """The latents at the end."""
    settings = {k: v for k, v in cases.TEXT.items() if k != "model_type"}
    encoder = component("text_encoder", CLIPTextModel(CLIPTextConfig(**settings)))
    unet = cases.UNET | {"in_channels": cases.channels(task)}
    scheduler, told, _ = cases.SAMPLERS[sampler]
    pipe = PIPELINES[task](
        vae=component("vae", network(diffusers.AutoencoderKL, cases.VAE)),
        text_encoder=encoder,
        tokenizer=None,
        unet=component("unet", network(diffusers.UNet2DConditionModel, unet)),
        scheduler=getattr(diffusers, scheduler)(**cases.SCHEDULER, **told),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    noise, image, mask = map(torch.tensor, (cases.NOISE, cases.IMAGE, cases.MASK))
    given = {
        "text": {"latents": noise},
        "image": {"image": image, "strength": cases.STRENGTH},
        "inpainting": {"image": image, "mask_image": mask, "latents": noise, "strength": 1.0},
    }[task]
    drawn_there = f"{PIPELINES[task].__module__}.randn_tensor"
    with mock.patch(drawn_there, lambda *_, **__: noise):
        return pipe(
            prompt_embeds=encoder(torch.tensor(cases.IDS))[0],
            negative_prompt_embeds=encoder(torch.tensor(cases.EMPTY))[0],
            num_inference_steps=cases.STEPS,
            guidance_scale=cases.GUIDANCE,
            output_type="latent",
            **given,
        ).images.numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mean
    found = {f"{task} {sampler}": latents(task, sampler) for task, sampler in cases.CASES}
    np.savez_compressed(HERE / "pipelines.npz", **found)
