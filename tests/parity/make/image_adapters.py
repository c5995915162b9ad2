"""Makes image_adapters.npz: diffusers' T2I-Adapters and IP-Adapters, and a pipeline with Plus.

pip install torch==2.13.0 diffusers==0.42.1 transformers==5.23.0
python -m tests.parity.make.image_adapters
"""

import diffusers
import numpy as np
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from tests.parity.cases import image_adapter_cases as cases
from tests.parity.cases import image_adapters as ours
from tests.parity.cases import pipeline_cases
from tests.parity.folders import ARRAYS
from tests.parity.make.pipelines import UNSAFE, component, eye, network


def unet(settings: dict) -> diffusers.UNet2DConditionModel:
    return component("unet", network(diffusers.UNet2DConditionModel, settings))


def t2i_adapter(name: str) -> diffusers.T2IAdapter:
    settings = {"in_channels": 3, **cases.T2I[name][1]}
    made = diffusers.T2IAdapter(
        adapter_type=cases.KINDS[name], downscale_factor=cases.FACTORS[name], **settings
    )
    return component(f"t2i {name}", made)


def t2i(name: str) -> dict[str, torch.Tensor]:
    """Features of the hint, and the UNet with them."""
    features = t2i_adapter(name)(torch.tensor(cases.HINT[name]))
    found = {f"t2i {name} feature{i}": x.clone() for i, x in enumerate(features)}
    for scale in (1.0, cases.SCALE):
        y = unet(cases.T2I[name][0])(
            torch.tensor(cases.X),
            torch.tensor(cases.T),
            torch.tensor(cases.TEXT),
            down_intrablock_additional_residuals=[scale * x for x in features],
        ).sample
        found[f"t2i {name} {scale}"] = y
    return found


def with_prompts(projection: str, scale: float) -> diffusers.UNet2DConditionModel:
    """The UNet with an IP-Adapter in the published names."""
    state = ours.ip_state(projection)
    parts = {
        part: {
            key.removeprefix(f"{part}."): torch.tensor(x)
            for key, x in state.items()
            if key.startswith(f"{part}.")
        }
        for part in ("image_proj", "ip_adapter")
    }
    found = unet(pipeline_cases.UNET)
    found._load_ip_adapter_weights([parts], low_cpu_mem_usage=False)
    for processor in found.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [scale]
    return found.eval()


def ip(name: str) -> torch.Tensor:
    """The UNet with an IP-Adapter."""
    projection, images, scale = cases.IP[name]
    prompts = torch.tensor(cases.prompts(projection, images))
    added = {"image_embeds": [prompts]}
    call = with_prompts(projection, scale)
    inputs = (torch.tensor(x) for x in (cases.X, cases.T, cases.TEXT))
    return call(*inputs, added_cond_kwargs=added).sample


def pipeline(unet, prompts: torch.Tensor) -> torch.Tensor:
    """The final latents of a pipeline with image prompts, the unconditional one first."""
    settings = {k: v for k, v in pipeline_cases.TEXT.items() if k != "model_type"}
    encoder = component("text_encoder", CLIPTextModel(CLIPTextConfig(**settings)))
    scheduler, options, _ = pipeline_cases.SAMPLERS["ddim"]
    pipe = diffusers.StableDiffusionPipeline(
        vae=component("vae", network(diffusers.AutoencoderKL, pipeline_cases.VAE)),
        text_encoder=encoder,
        tokenizer=None,
        unet=unet,
        scheduler=getattr(diffusers, scheduler)(**pipeline_cases.SCHEDULER, **options),
        **UNSAFE,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        prompt_embeds=encoder(torch.tensor(pipeline_cases.IDS))[0],
        negative_prompt_embeds=encoder(torch.tensor(pipeline_cases.EMPTY))[0],
        latents=torch.tensor(pipeline_cases.NOISE),
        num_inference_steps=pipeline_cases.STEPS,
        guidance_scale=pipeline_cases.GUIDANCE,
        output_type="latent",
        ip_adapter_image_embeds=[prompts],
    ).images


@torch.no_grad()
def arrays() -> dict[str, np.ndarray]:
    """All references."""
    found = {}
    for name in cases.T2I:
        found |= t2i(name)
    found |= {f"ip {name}": ip(name) for name in cases.IP}
    seen = eye()(torch.tensor(cases.PHOTOS), output_hidden_states=True)
    found |= {"embeddings": seen.image_embeds, "hidden states": seen.hidden_states[-2]}
    one = torch.tensor(cases.prompts("resampler", 1)[:1])
    both = torch.cat([torch.tensor(cases.unconditional()), one])
    found["pipeline"] = pipeline(with_prompts("resampler", cases.SCALE), both)
    return {name: x.numpy() for name, x in found.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.savez_compressed(ARRAYS / "image_adapters.npz", **arrays())
