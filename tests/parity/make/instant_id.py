"""Makes instant_id.npz: diffusers' ControlNet and UNet, put together as InstantID's pipeline does.

pip install torch==2.13.0 diffusers==0.42.1 transformers==5.23.0
python -m tests.parity.make.instant_id
"""

import diffusers
import numpy as np
import torch

from ldm_jax.weights.formats import instant_id_folder
from tests.parity.cases import image_adapter_cases as cases
from tests.parity.cases import instant_id as ours
from tests.parity.cases import pipeline_cases
from tests.parity.folders import ARRAYS
from tests.parity.make.image_adapters import unet


def tensors(state) -> dict[str, torch.Tensor]:
    return {key: torch.tensor(np.asarray(x)) for key, x in state.items()}


def identity_net(state) -> diffusers.ControlNetModel:
    """A ControlNet of the UNet."""
    same = ("in_channels", "down_block_types", "block_out_channels", "layers_per_block")
    same += ("attention_head_dim", "cross_attention_dim", "norm_num_groups")
    settings = {name: pipeline_cases.UNET[name] for name in same}
    found = diffusers.ControlNetModel(conditioning_embedding_out_channels=(4, 8), **settings)
    found.load_state_dict(tensors(state))
    return found.eval()


@torch.no_grad()
def arrays() -> dict[str, np.ndarray]:
    face, net = instant_id_folder.parted(ours.state())
    parts = {
        part: {k.removeprefix(f"{part}."): x for k, x in tensors(face).items() if part in k}
        for part in ("image_proj", "ip_adapter")
    }
    denoiser = unet(pipeline_cases.UNET)
    denoiser._load_ip_adapter_weights([parts], low_cpu_mem_usage=False)
    for processor in denoiser.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [cases.SCALE]
    denoiser.eval()
    x, t, text = (torch.tensor(x) for x in (cases.X, cases.T, cases.TEXT))
    embedding = torch.tensor(ours.FACE)[:, None]  # a place
    tokens = denoiser.encoder_hid_proj.image_projection_layers[0](embedding)
    down, middle = identity_net(net)(
        x, t, tokens, controlnet_cond=torch.tensor(ours.POINTS), return_dict=False
    )
    y = denoiser(
        x,
        t,
        text,
        added_cond_kwargs={"image_embeds": [embedding[:, None]]},
        down_block_additional_residuals=[cases.SCALE * one for one in down],
        mid_block_additional_residual=cases.SCALE * middle,
    ).sample
    added = {f"added {i}": one.numpy() for i, one in enumerate((*down, middle))}
    return {"output": y.numpy(), **added}


if __name__ == "__main__":
    torch.set_num_threads(1)
    np.savez_compressed(ARRAYS / "instant_id.npz", **arrays())
