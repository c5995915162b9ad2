"""Makes pipelines.npz: final latents of diffusers' pipelines of Stable Diffusion.

pip install torch==2.13.0 diffusers==0.42.1 transformers==5.23.0
python -m tests.parity.make.pipelines
"""

import functools
from unittest import mock

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (
    StableUnCLIPImageNormalizer,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from tests.parity.cases import pipeline_cases as cases
from tests.parity.folders import ARRAYS

PIPELINES = {
    "text": diffusers.StableDiffusionPipeline,
    "image": diffusers.StableDiffusionImg2ImgPipeline,
    "noised image": diffusers.StableDiffusionImg2ImgPipeline,
    "inpainting": diffusers.StableDiffusionInpaintPipeline,
    "depth": diffusers.StableDiffusionDepth2ImgPipeline,
    "upscaling": diffusers.StableDiffusionUpscalePipeline,
    "variation": diffusers.StableDiffusionImageVariationPipeline,
    "unclip": diffusers.StableUnCLIPImg2ImgPipeline,
}
UNSAFE = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def component(name: str, module: torch.nn.Module) -> torch.nn.Module:
    """A network with its drawn weights."""
    state = cases.weights(name, {key: w.shape for key, w in module.state_dict().items()})
    module.load_state_dict({key: torch.tensor(w) for key, w in state.items()})
    return module.eval()


def network(kind, settings: dict):
    return kind(**{name: value for name, value in settings.items() if name[0] != "_"})


def with_second_call(pipe, steps: int, strength: float, device=None):
    """What PNDM visits from an image on.

    Its first step calls the network twice, and says so by visiting the second time twice. diffusers
    cuts the list of all times, and with it the repetition: the third call then has a time that
    is one step too late. Here the times are cut first and the second repeated afterwards.
    """
    times = torch.unique(pipe.scheduler.timesteps).flip(0)[steps - int(steps * strength) :]
    return torch.cat([times[:2], times[1:]]), len(times) + 1


def drawn_noise(shape, **_) -> torch.Tensor:
    """The noise of such a shape, in place of diffusers' generator."""
    noises = {x.shape: x for x in (cases.NOISE, cases.SMALL_NOISE, cases.IMAGE_NOISE)}
    return torch.tensor(noises[tuple(shape)])


def eye() -> torch.nn.Module:
    """The encoder of images."""
    settings = {k: v for k, v in cases.VISION.items() if k != "model_type"}
    return component("image_encoder", CLIPVisionModelWithProjection(CLIPVisionConfig(**settings)))


@torch.no_grad()
def latents(task: str, sampler: str) -> np.ndarray:
    """The latents at the end."""
    settings = {k: v for k, v in cases.TEXT.items() if k != "model_type"}
    encoder = component("text_encoder", CLIPTextModel(CLIPTextConfig(**settings)))
    scheduler, options, _ = cases.SAMPLERS[sampler]
    low_res = diffusers.DDPMScheduler(**cases.LOW_RES)
    captioned = {"text_encoder": encoder, "tokenizer": None}
    said = {
        "prompt_embeds": encoder(torch.tensor(cases.IDS))[0],
        "negative_prompt_embeds": encoder(torch.tensor(cases.EMPTY))[0],
    }
    if task == "variation":
        captioned, said = {"image_encoder": eye()}, {}
    normalizer = StableUnCLIPImageNormalizer(cases.VISION["projection_dim"])
    own = {
        "unclip": {
            "image_encoder": eye(),
            "image_normalizer": component("image_normalizer", normalizer),
            "image_noising_scheduler": diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
            "feature_extractor": None,
        },
        "depth": {"depth_estimator": None, "feature_extractor": None},
        "upscaling": {"low_res_scheduler": low_res, "max_noise_level": 350},
    }
    pipe = PIPELINES[task](
        vae=component("vae", network(diffusers.AutoencoderKL, cases.VAE)),
        **captioned,
        unet=component("unet", network(diffusers.UNet2DConditionModel, cases.unet(task))),
        scheduler=getattr(diffusers, scheduler)(**cases.SCHEDULER, **options),
        **own.get(task, UNSAFE),
    )
    pipe.set_progress_bar_config(disable=True)
    if sampler == "plms" and task in ("image", "depth"):
        pipe.get_timesteps = functools.partial(with_second_call, pipe)
    noise, image, mask = map(torch.tensor, (cases.NOISE, cases.IMAGE, cases.MASK))
    sides = dict.fromkeys(("height", "width"), cases.SIDE * cases.FACTOR)
    from_image = {"image": image, "strength": cases.STRENGTHS.get(task)}
    given = {
        "text": {"latents": noise},
        "image": from_image,
        "noised image": from_image,
        "inpainting": {"image": image, "mask_image": mask, "latents": noise, "strength": 1.0},
        "depth": {**from_image, "depth_map": torch.tensor(cases.DEPTH)},
        "variation": {"image": torch.tensor(cases.PHOTO), **sides},
        "unclip": {"image": torch.tensor(cases.PHOTO), "noise_level": cases.IMAGE_LEVEL},
        "upscaling": {"image": torch.tensor(cases.SMALL), "noise_level": cases.NOISE_LEVEL},
    }[task]
    with mock.patch(f"{PIPELINES[task].__module__}.randn_tensor", drawn_noise):
        return pipe(
            **said,
            num_inference_steps=cases.STEPS,
            guidance_scale=cases.GUIDANCE,
            output_type="latent",
            **given,
        ).images.numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mean
    found = {f"{task} {sampler}": latents(task, sampler) for task, sampler in cases.CASES}
    np.savez_compressed(ARRAYS / "pipelines.npz", **found)
