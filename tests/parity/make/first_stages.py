"""Makes the references of `first_stages.py` from the original code.

    git clone https://github.com/CompVis/latent-diffusion
    git clone https://github.com/CompVis/taming-transformers
    pip install torch==2.13.0 einops pillow numpy
    PYTHONPATH=.:latent-diffusion:taming-transformers \\
        python -m tests.parity.make.first_stages REFERENCES [NAME ...]
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from ldm.modules.diffusionmodules.model import Decoder, Encoder
from taming.modules.vqvae.quantize import VectorQuantizer2

from ldm_jax import config as c
from tests.parity.cases import drawn
from tests.parity.cases.first_stage_cases import (
    NAMES,
    compared,
    cotangents,
    image,
    keys_and_shapes,
    model,
)


class FirstStage(torch.nn.Module):
    """The original's parts under the original's names."""

    def __init__(self, config: c.ConvolutionalAutoencoder):
        super().__init__()
        z, self.kl = config.z_channels, isinstance(config, c.KLAutoencoder)
        settings = {
            "double_z": self.kl,
            "z_channels": z,
            "resolution": 256,
            "in_channels": 3,
            "out_ch": 3,
            "ch": config.channels,
            "ch_mult": config.channel_mults,
            "num_res_blocks": config.num_res_blocks,
            "attn_resolutions": [256 // factor for factor in config.attention_factors],
            "dropout": 0.0,
            "attn_type": "vanilla" if config.mid_attention else "none",
        }
        self.encoder, self.decoder = Encoder(**settings), Decoder(**settings)
        width = 2 * z if self.kl else z
        self.quant_conv = torch.nn.Conv2d(width, width, 1)
        self.post_quant_conv = torch.nn.Conv2d(z, z, 1)
        if not self.kl:
            self.quantize = VectorQuantizer2(config.codebook_size, z, beta=0.25)

    def forward(self, x):
        """Outputs by name."""
        h = self.quant_conv(self.encoder(x))
        if self.kl:
            recon = self.decoder(self.post_quant_conv(h.chunk(2, dim=1)[0]))
            return {"moments": h, "recon": recon}
        rounded, loss, (_, _, indices) = self.quantize(h)
        recon = self.decoder(self.post_quant_conv(rounded))
        return {"h": h, "indices": indices.reshape(-1), "recon": recon, "codebook loss": loss}


def reference(name: str) -> dict[str, np.ndarray]:
    """Outputs, and gradients of their weighted sum."""
    stage, shapes = FirstStage(model(name)), keys_and_shapes(name).shapes
    state = {key: torch.tensor(w) for key, w in drawn.state(shapes).items()}
    stage.load_state_dict(state)
    x = torch.tensor(image(), requires_grad=True)
    outputs = stage(x)
    found = {key: y.detach().float().numpy() for key, y in outputs.items()}
    loss = sum((outputs[key] * torch.tensor(w)).sum() for key, w in cotangents(found).items())
    loss.backward()
    weights = dict(stage.named_parameters())
    gradients = {f"grad:{key}": weights[key].grad.numpy() for key in compared(shapes)}
    return {"image": image(), **found, "grad:image": x.grad.numpy(), **gradients}


def main() -> None:
    """Writes an npz a config."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("references", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", default=NAMES)
    arguments = parser.parse_args()
    arguments.references.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        np.savez(arguments.references / f"{name}.npz", **reference(name))
        print(name, flush=True)


if __name__ == "__main__":
    main()
