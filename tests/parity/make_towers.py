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
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
)


def vision_config(channels, layers, heads, dim, patch, size):
    """Of the tower of pictures of CLIP."""
    return CLIPVisionConfig(
        hidden_size=channels,
        intermediate_size=4 * channels,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=size,
        patch_size=patch,
        projection_dim=dim,
    )


def text_config(channels, layers, heads, dim, weights, pieces):
    """Of that of captions."""
    return CLIPTextConfig(
        vocab_size=pieces,
        hidden_size=channels,
        intermediate_size=4 * channels,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=cases.length(pieces),
        hidden_act={"openai": "quick_gelu", "openclip": "gelu"}[weights],
        projection_dim=dim,
        bos_token_id=pieces - 2,
        eos_token_id=pieces - 1,
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


def filled(network):
    """The network with drawn weights."""
    shapes = {key: w.shape for key, w in network.state_dict().items()}
    weights = {key: torch.tensor(w) for key, w in drawn.state(shapes).items()}
    network.load_state_dict(weights)
    return network.eval()


def pictures(size):
    """[2, 3, size, size]."""
    return torch.tensor(cases.images(size)).permute(0, 3, 1, 2)


def output(network, size):
    """Of the drawn weights and pictures."""
    found = filled(network)(pictures(size))
    return getattr(found, "image_embeds", getattr(found, "pooler_output", None)).numpy()


def answers(config):
    """Of the tower of captions: after its last layer and the norm, after the one before and the
    norm, and in the space of pictures."""
    network = filled(CLIPTextModelWithProjection(config))
    tokens = torch.tensor(cases.tokens(config.vocab_size)).long()
    found = network(tokens, output_hidden_states=True)
    before = network.text_model.final_layer_norm(found.hidden_states[-2])
    return [x.numpy() for x in (found.last_hidden_state, before, found.text_embeds)]


def scores(vision, text):
    """100 cos of each picture with each caption, [2, 2], of a whole model."""
    config = CLIPConfig(
        vision_config=vision.to_dict(), text_config=text.to_dict(), projection_dim=12
    )
    network = filled(CLIPModel(config))
    network.logit_scale.data = torch.tensor(100.0).log()
    tokens = torch.tensor(cases.tokens(text.vocab_size)).long()
    found = network(input_ids=tokens, pixel_values=pictures(vision.image_size))
    return found.logits_per_image.numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    full = len(sys.argv) > 1
    found = {}
    for name, sizes in (cases.FULL_CLIP if full else cases.CLIP).items():
        network = CLIPVisionModelWithProjection(vision_config(*sizes))
        found[name] = output(network, sizes[-1])
    for name, sizes in (cases.FULL_DINOV2 if full else cases.DINOV2).items():
        found[name] = output(dinov2(*sizes), sizes[-1])
    for name, sizes in (cases.FULL_TEXT if full else cases.TEXT).items():
        each = zip(cases.ANSWERS, answers(text_config(*sizes)), strict=True)
        found |= {f"{name}, {answer}": x for answer, x in each}
    both = vision_config(*cases.CLIP["clip small"]), text_config(*cases.TEXT["clip text small"])
    found["scores"] = scores(*both)
    # positions as the authors interpolate them, with an offset of 0.1
    x = torch.tensor(drawn.normal("positions", (1, 1, 1, 37)))
    scale = (1.0, (16 + 0.1) / 37)
    found["positions"] = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bicubic")
    np.savez(sys.argv[1] if full else Path(__file__).with_name("towers.npz"), **found)
