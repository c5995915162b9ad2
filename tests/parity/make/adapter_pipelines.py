"""Makes adapter_pipelines.npz: final latents of diffusers' pipelines with adapters.

pip install torch==2.13.0 diffusers==0.42.1 transformers==5.23.0 peft==0.21.2
python -m tests.parity.make.adapter_pipelines

Guess mode is diffusers' but for the shares of a ControlNet's outputs, which are the original's:
0.825^(n - 1 - i) of output i of n. diffusers' go from 0.1 to 1, evenly in their logarithm: with 13
outputs that is 0.8254^(n - 1 - i), with the 5 here 0.562^(n - 1 - i).
"""

import tempfile
from pathlib import Path
from unittest import mock

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from safetensors.numpy import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from tests.parity.cases import adapter_pipeline_cases as cases
from tests.parity.cases import pipeline_cases
from tests.parity.folders import ARRAYS
from tests.parity.make.pipelines import UNSAFE, component, network

GUESS = 0.825
NOISE = torch.tensor(pipeline_cases.NOISE)


def tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 [..., H, W, 3] -> [B, 3, H, W], 0 to 1."""
    return torch.tensor(np.moveaxis(np.float32(images) / 255, -1, -3)).reshape(
        -1, 3, *images.shape[-3:-1]
    )


def shares(first: float, last: float, n: int, device=None) -> torch.Tensor:
    assert (first, last) == (-1, 0)
    return GUESS ** torch.arange(n - 1, -1, -1)


def with_nets(case: cases.Case) -> tuple[type, dict, dict]:
    """The pipeline with ControlNets, its parts, and what it is given."""
    nets = [component(n, network(diffusers.ControlNetModel, cases.CONTROL)) for n in case.words]
    scale, start, end = map(list, zip(*case.words.values(), strict=True))
    hints = [tensor(cases.HINTS[name]) for name in case.words]
    given = {
        "controlnet_conditioning_scale": scale,
        "control_guidance_start": start,
        "control_guidance_end": end,
        "guess_mode": case.guess,
    }
    if not case.image:
        given |= {"image": hints, "latents": NOISE}
        return diffusers.StableDiffusionControlNetPipeline, {"controlnet": nets}, given
    image = (2 * tensor(cases.IMAGE) - 1).expand(cases.B, -1, -1, -1)
    given |= {"image": image, "control_image": hints, "strength": cases.STRENGTH}
    kind = diffusers.StableDiffusionControlNetImg2ImgPipeline
    if case.mask:
        kind = diffusers.StableDiffusionControlNetInpaintPipeline
        given |= {"mask_image": torch.tensor(cases.MASK / 255.0)[None, None]}
    return kind, {"controlnet": nets}, given


def of_case(case: cases.Case) -> tuple[type, dict, dict]:
    """The same of any case."""
    if case.words == cases.NETS:
        return with_nets(case)
    given = {"latents": NOISE}
    if "features" in case.words:
        adapter = component("features", diffusers.T2IAdapter(**cases.T2I))
        given |= {"image": tensor(cases.HINTS["features"])}
        given |= {"adapter_conditioning_scale": case.words["features"][0]}
        return diffusers.StableDiffusionAdapterPipeline, {"adapter": adapter}, given
    if "prompt" in case.words:
        prompt = torch.tensor(cases.PROMPT)[None, None]
        given |= {"ip_adapter_image_embeds": [torch.cat([torch.zeros_like(prompt), prompt])]}
    return diffusers.StableDiffusionPipeline, {}, given


def attach(pipe, name: str, scale: float) -> None:
    """What a pipeline reads of files."""
    if name == "prompt":
        state: dict = {"image_proj": {}, "ip_adapter": {}}
        for key, x in cases.image_prompt().items():
            part, _, rest = key.partition(".")
            state[part][rest] = torch.tensor(x)
        pipe.load_ip_adapter(state, subfolder=None, weight_name=None, image_encoder_folder=None)
        pipe.set_ip_adapter_scale(scale)
    if name == "weights":
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "weights.safetensors"
            save_file(cases.low_rank(), file)
            pipe.load_lora_weights(str(file), adapter_name=name)
        pipe.set_adapters([name], [scale])


@torch.no_grad()
def latents(case: cases.Case | None) -> np.ndarray:
    """The latents at the end; None: without adapters."""
    case = case or cases.Case({})
    kind, parts, given = of_case(case)
    scheduler, options, _ = pipeline_cases.SAMPLERS["ddim"]
    settings = {k: v for k, v in pipeline_cases.TEXT.items() if k != "model_type"}
    pipe = kind(
        vae=component("vae", network(diffusers.AutoencoderKL, pipeline_cases.VAE)),
        text_encoder=component("text_encoder", CLIPTextModel(CLIPTextConfig(**settings))),
        tokenizer=None,
        unet=component("unet", network(diffusers.UNet2DConditionModel, pipeline_cases.UNET)),
        scheduler=getattr(diffusers, scheduler)(**pipeline_cases.SCHEDULER, **options),
        **UNSAFE,
        **parts,
    )
    pipe.set_progress_bar_config(disable=True)
    for name, (scale, *_) in case.words.items():
        attach(pipe, name, scale)
    noise = mock.patch(f"{kind.__module__}.randn_tensor", lambda *_, **__: NOISE)
    logspace = mock.patch.object(torch, "logspace", shares)
    with noise, logspace:
        return pipe(
            prompt_embeds=pipe.text_encoder(torch.tensor(pipeline_cases.IDS))[0],
            negative_prompt_embeds=pipe.text_encoder(torch.tensor(pipeline_cases.EMPTY))[0],
            num_inference_steps=pipeline_cases.STEPS,
            guidance_scale=pipeline_cases.GUIDANCE,
            output_type="latent",
            **given,
        ).images.numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mean
    plain = latents(None)
    found = {name: latents(case) for name, case in cases.CASES.items()}
    for name, x in found.items():
        apart = np.linalg.norm(x - plain) / np.linalg.norm(plain)
        print(f"{name}: {apart:.2f} of their norm from what no adapter gives")
    np.savez_compressed(ARRAYS / "adapter_pipelines.npz", **found)
