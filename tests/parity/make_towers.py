"""Makes towers.npz with transformers, or with a FILE.npz as an argument the published sizes.

pip install torch transformers
PYTHONPATH=. python tests/parity/make_towers.py [FILE.npz]
"""

import sys
from pathlib import Path

import drawn
import numpy as np
import torch
import tower_cases as cases
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model


def clip(channels, layers, heads, dim, patch, size):
    """The tower of pictures of CLIP."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=channels,
            intermediate_size=4 * channels,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            image_size=size,
            patch_size=patch,
            projection_dim=dim,
        )
    )


def dinov2(channels, layers, heads, patch, trained, size):
    """DINOv2, without its head."""
    return Dinov2Model(
        Dinov2Config(
            hidden_size=channels,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            image_size=trained * patch,
            patch_size=patch,
        )
    )


def output(network, size):
    """Of the drawn weights and pictures."""
    shapes = {key: w.shape for key, w in network.state_dict().items()}
    weights = {key: torch.tensor(w) for key, w in drawn.state(shapes).items()}
    network.load_state_dict(weights)
    found = network.eval()(torch.tensor(cases.images(size)).permute(0, 3, 1, 2))
    return getattr(found, "image_embeds", getattr(found, "pooler_output", None)).numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    full = len(sys.argv) > 1
    found = {}
    for name, sizes in (cases.FULL_CLIP if full else cases.CLIP).items():
        found[name] = output(clip(*sizes), sizes[-1])
    for name, sizes in (cases.FULL_DINOV2 if full else cases.DINOV2).items():
        found[name] = output(dinov2(*sizes), sizes[-1])
    # positions as the authors interpolate them, with an offset of 0.1
    x = torch.tensor(drawn.normal("positions", (1, 1, 1, 37)))
    scale = (1.0, (16 + 0.1) / 37)
    found["positions"] = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bicubic")
    np.savez(sys.argv[1] if full else Path(__file__).with_name("towers.npz"), **found)
