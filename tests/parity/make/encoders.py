"""Makes encoders.npz with transformers, or with a FILE.npz as an argument the published sizes, all
or those that are named.

pip install torch transformers
python -m tests.parity.make.encoders [FILE.npz [NAME ...]]
"""

import sys

import numpy as np
import torch
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

from tests.parity.cases import drawn
from tests.parity.cases import encoder_cases as cases
from tests.parity.folders import ARRAYS

ACTIVATIONS = {"openai": "quick_gelu", "openclip": "gelu"}


def vision_config(channels, layers, heads, dim, patch, size, weights="openai"):
    """Of CLIP's image encoder."""
    return CLIPVisionConfig(
        hidden_act=ACTIVATIONS[weights],
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
        hidden_act=ACTIVATIONS[weights],
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


def photos(size):
    """[2, 3, size, size]."""
    return torch.tensor(cases.images(size)).permute(0, 3, 1, 2)


def output(network, size):
    """Of the drawn weights and images."""
    found = filled(network)(photos(size))
    return getattr(found, "image_embeds", getattr(found, "pooler_output", None)).numpy()


def answers(config):
    """Of the text encoder: after its last layer and the norm, after the one before and the
    norm, and in the space of images."""
    network = filled(CLIPTextModelWithProjection(config))
    tokens = torch.tensor(cases.tokens(config.vocab_size)).long()
    found = network(tokens, output_hidden_states=True)
    before = network.text_model.final_layer_norm(found.hidden_states[-2])
    return [x.numpy() for x in (found.last_hidden_state, before, found.text_embeds)]


def scores(vision, text):
    """100 cos of each image with each caption, [2, 2], of a whole model."""
    config = CLIPConfig(
        vision_config=vision.to_dict(), text_config=text.to_dict(), projection_dim=12
    )
    network = filled(CLIPModel(config))
    network.logit_scale.data = torch.tensor(100.0).log()
    tokens = torch.tensor(cases.tokens(text.vocab_size)).long()
    found = network(input_ids=tokens, pixel_values=photos(vision.image_size))
    return found.logits_per_image.numpy()


LEARNED = (  # whose gradients are compared
    "logit_scale",
    "visual_projection.weight",
    "text_projection.weight",
    "vision_model.embeddings.patch_embedding.weight",
    "text_model.embeddings.token_embedding.weight",
)


def trained(vision, text):
    """Of a whole model the loss by which it learns, gradients, and the logits of classes of which
    several captions speak."""
    config = CLIPConfig(
        vision_config=vision.to_dict(), text_config=text.to_dict(), projection_dim=12
    )
    network = filled(CLIPModel(config))
    network.logit_scale.data = torch.tensor(1 / 0.07).log()
    tokens = torch.tensor(cases.tokens(text.vocab_size)).long()
    images = photos(vision.image_size)
    with torch.enable_grad():
        loss = network(input_ids=tokens, pixel_values=images, return_loss=True).loss
        loss.backward()
    weights = dict(network.named_parameters())
    found = {f"gradient {key}": weights[key].grad.numpy() for key in LEARNED}
    each = []
    for said in cases.classes(text.vocab_size):  # [T, n] of one class
        x = network.text_projection(network.text_model(torch.tensor(said).long()).pooler_output)
        mean = (x / x.norm(dim=-1, keepdim=True)).mean(dim=0)
        each.append(mean / mean.norm())
    x = network.visual_projection(network.vision_model(images).pooler_output)
    logits = 100.0 * (x / x.norm(dim=-1, keepdim=True)) @ torch.stack(each).T
    return found | {"loss": loss.detach().numpy(), "logits of classes": logits.numpy()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    full, wanted = len(sys.argv) > 1, sys.argv[2:]
    found = {}

    def chosen(small, published):
        cases = published if full else small
        return {name: cases[name] for name in cases if not wanted or name in wanted}.items()

    for name, sizes in chosen(cases.CLIP, cases.FULL_CLIP):
        network = CLIPVisionModelWithProjection(vision_config(*sizes, cases.weights(name)))
        found[name] = output(network, sizes[-1])
    for name, sizes in chosen(cases.DINOV2, cases.FULL_DINOV2):
        found[name] = output(dinov2(*sizes), sizes[-1])
    for name, sizes in chosen(cases.TEXT, cases.FULL_TEXT):
        each = zip(cases.ANSWERS, answers(text_config(*sizes)), strict=True)
        found |= {f"{name}, {answer}": x for answer, x in each}
    if not full:
        both = vision_config(*cases.CLIP["clip small"]), text_config(*cases.TEXT["clip text small"])
        found["scores"] = scores(*both)
        found |= trained(*both)
        # positions as the authors interpolate them, with an offset of 0.1
        x = torch.tensor(drawn.normal("positions", (1, 1, 1, 37)))
        scale = (1.0, (16 + 0.1) / 37)
        found["positions"] = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bicubic")
    np.savez(sys.argv[1] if full else ARRAYS / "encoders.npz", **found)
