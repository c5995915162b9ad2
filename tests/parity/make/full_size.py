"""Makes references of `full_size.py` from the original code and its own configurations.

    git clone https://github.com/CompVis/latent-diffusion
    git clone https://github.com/CompVis/taming-transformers
    pip install torch==2.13.0 einops omegaconf numpy
    PYTHONPATH=latent-diffusion:taming-transformers python -m tests.parity.make.full_size \\
        latent-diffusion REFERENCES [NAME ...]

Writes REFERENCES/ldm-NAME.npz, inputs and outputs, and ldm-NAME.json, keys and shapes. Weights are
drawn from the keys, in float32; a network at a time is in memory, up to 2 GB.
"""

import argparse
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from ldm.modules.diffusionmodules.model import Decoder, Encoder
from ldm.modules.diffusionmodules.openaimodel import UNetModel
from omegaconf import OmegaConf
from taming.modules.vqvae.quantize import VectorQuantizer2

from tests.parity.cases import drawn

for absent in ("clip", "kornia"):  # which encoders of other models want
    sys.modules.setdefault(absent, mock.MagicMock())
from ldm.modules.encoders.modules import BERTEmbedder  # noqa: E402

NAMES = ("inpainting_big", "bsr_sr", "layout2img-openimages256")


class FirstStage(torch.nn.Module):
    """The original's VQ autoencoder under the original's names."""

    def __init__(self, settings):
        super().__init__()
        z = settings.embed_dim
        self.encoder, self.decoder = (kind(**settings.ddconfig) for kind in (Encoder, Decoder))
        self.quantize = VectorQuantizer2(settings.n_embed, z, beta=0.25)
        self.quant_conv, self.post_quant_conv = (torch.nn.Conv2d(z, z, 1) for _ in range(2))

    def forward(self, image):
        h = self.quant_conv(self.encoder(image))
        rounded, _, (_, _, indices) = self.quantize(h)
        recon = self.decoder(self.post_quant_conv(rounded))
        return {"h": h, "indices": indices.reshape(-1), "recon": recon}


def filled(network: torch.nn.Module, prefix: str, shapes: dict) -> torch.nn.Module:
    """The network with its drawn weights; adds its keys to `shapes`."""
    own = {key: list(w.shape) for key, w in network.state_dict().items()}
    shapes |= {prefix + key: shape for key, shape in own.items()}
    state = {key: torch.tensor(w) for key, w in drawn.state(own, prefix).items()}
    network.load_state_dict(state)
    return network.eval()


@torch.no_grad()
def reference(name: str, settings) -> tuple[dict[str, np.ndarray], dict[str, list[int]]]:
    """Inputs and outputs; keys and shapes."""
    arrays, shapes = {}, {}
    sizes = settings.unet_config.params
    inputs = {
        "x": drawn.normal(f"{name} x", (1, sizes.in_channels, 32, 32)),
        "t": np.asarray([500]),
    }
    if "context_dim" in sizes:
        inputs["context"] = drawn.normal(f"{name} context", (1, 13, sizes.context_dim))
    unet = filled(UNetModel(**sizes), "model.diffusion_model.", shapes)
    x, t, *context = (torch.tensor(array) for array in inputs.values())
    arrays |= inputs | {"y": unet(x, t, *context).numpy()}
    del unet
    if "BERT" in str(settings.cond_stage_config):
        s = settings.cond_stage_config.params
        embedder = BERTEmbedder(
            s.n_embed, s.n_layer, s.vocab_size, s.max_seq_len, device="cpu", use_tokenizer=False
        )
        ids = np.arange(s.max_seq_len)[None] * 89 % s.vocab_size
        tokens = filled(embedder, "cond_stage_model.", shapes)(torch.tensor(ids))
        arrays |= {"ids": ids, "tokens": tokens.numpy()}
    stage = filled(FirstStage(settings.first_stage_config.params), "first_stage_model.", shapes)
    image = np.tanh(drawn.normal(f"{name} image", (1, 3, 64, 64)))
    outputs = stage(torch.tensor(image))
    arrays |= {"image": image} | {key: y.numpy() for key, y in outputs.items()}
    if settings.cond_stage_config == "__is_first_stage__":
        again = {k: s for k, s in shapes.items() if k.startswith("first_stage_model.")}
        shapes |= {k.replace("first_stage", "cond_stage"): s for k, s in again.items()}
    return arrays, shapes


def main() -> None:
    """Writes two files a configuration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("original", type=Path)
    parser.add_argument("references", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", default=NAMES)
    arguments = parser.parse_args()
    arguments.references.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name in arguments.names:
        file = arguments.original / "models" / "ldm" / name / "config.yaml"
        arrays, shapes = reference(name, OmegaConf.load(file).model.params)
        np.savez(arguments.references / f"ldm-{name}.npz", **arrays)
        (arguments.references / f"ldm-{name}.json").write_text(json.dumps(shapes))
        print(name, flush=True)


if __name__ == "__main__":
    main()
