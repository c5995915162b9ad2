"""Prints differences of encoders of published sizes to the output of make/encoders.py.

python -m tests.parity.cases.encoders FILE.npz
"""

import sys

import jax
import numpy as np

from ldm_jax.config import ContrastiveLoss
from ldm_jax.encoders.clip.model import CLIP, TextArchitecture, embed_captions, embed_images, unit
from ldm_jax.encoders.clip.text import CLIPTextEncoder
from ldm_jax.encoders.clip.vision import MEAN, STD, Architecture, CLIPImageEncoder
from ldm_jax.extractors import dinov2
from ldm_jax.metrics.classification import ensemble
from ldm_jax.train_step.contrastive import contrastive_objective
from ldm_jax.weights.names import dinov2 as dinov2_names
from ldm_jax.weights.names.clip import both_encoders, image_encoder
from ldm_jax.weights.table import to_here, to_original
from tests.parity import compare
from tests.parity.cases import drawn
from tests.parity.cases import encoder_cases as cases


def outputs(names) -> dict[str, np.ndarray]:
    """Ours, of the encoders of these names."""
    found = {}
    with jax.default_matmul_precision("highest"):
        for name, sizes in {**cases.CLIP, **cases.FULL_CLIP}.items():
            if name in names:
                of = Architecture(*sizes)
                network = CLIPImageEncoder(of, cases.weights(name))
                found[name] = applied(network, image_encoder(of), of.size)
        for name, sizes in {**cases.DINOV2, **cases.FULL_DINOV2}.items():
            if name in names:
                of = dinov2.Architecture(*sizes)
                network = dinov2.DINOv2(of, offset=0.0)
                found[name] = applied(network, dinov2_names.dinov2(of), of.size, theirs(of))
        for name, sizes in {**cases.TEXT, **cases.FULL_TEXT}.items():
            if f"{name}, last" in names:
                each = zip(cases.ANSWERS, answers(*sizes), strict=True)
                found |= {f"{name}, {answer}": x for answer, x in each}
    return found


def whole(vision, text) -> tuple[CLIP, dict]:
    """A model of these sizes with the weights that are drawn from transformers' names."""
    channels, layers, heads, _, weights, pieces = text
    of = TextArchitecture(channels, layers, heads, cases.length(pieces), pieces)
    model = CLIP(Architecture(*vision), of, weights)
    table = both_encoders(model, "transformers")
    return model, to_here(table, drawn.state({key: r.shape for r in table for key in r.keys}))


def answers(channels, layers, heads, dim, weights, pieces) -> list[np.ndarray]:
    """Of the text encoder: with all layers, without the last, and projected."""
    vision = (*cases.CLIP["clip small"][:3], dim, *cases.CLIP["clip small"][4:])
    model, params = whole(vision, (channels, layers, heads, dim, weights, pieces))
    tokens, text = cases.tokens(pieces), params["text"]

    def encoder(used):
        network = CLIPTextEncoder(pieces, channels, used, heads, cases.length(pieces), weights)
        return jax.jit(network.apply)({"params": text}, tokens)

    embedding = jax.jit(lambda params: embed_captions(model, params, tokens))(params)
    return [np.asarray(x) for x in (encoder(layers), encoder(layers - 1), embedding)]


def scores() -> np.ndarray:
    """100 cos of each image with each caption, [2, 2], of a small model."""
    model, params = whole(cases.CLIP["clip small"], cases.TEXT["clip text small"])
    with jax.default_matmul_precision("highest"):
        x = embed_images(model, params, cases.images(model.vision.size))
        y = embed_captions(model, params, cases.tokens(model.text.vocab_size))
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (np.float64(x), np.float64(y)))
    return 100.0 * x @ y.T


def learned(names) -> dict[str, np.ndarray]:
    """Of the same small model the loss of the two pairs and gradients, under transformers' names,
    and 100 cos of each image with each class of which several captions speak."""
    model, params = whole(cases.CLIP["clip small"], cases.TEXT["clip text small"])
    images, said = cases.images(model.vision.size), cases.tokens(model.text.vocab_size)
    objective = contrastive_objective(model, ContrastiveLoss(), len(images))
    batch = {  # which is normalised again
        "image": 2.0 * (images * STD + MEAN) - 1.0,
        "tokens": said,
        "position": np.arange(2),
    }
    params = {"clip": {**params, "log_scale": np.log(1 / 0.07, dtype=np.float32)}}
    of_classes = cases.classes(model.text.vocab_size)
    with jax.default_matmul_precision("highest"):
        gradients, metrics = objective.outcome(params, batch, None, None, lambda x: x)[:2]
        x = unit(embed_images(model, params["clip"], images))
        y = unit(embed_captions(model, params["clip"], of_classes.reshape(6, -1)))
    gradients = dict(gradients["clip"])
    scale = gradients.pop("log_scale")
    named = to_original(both_encoders(model, "transformers"), gradients) | {"logit_scale": scale}
    found = {f"gradient {key}": x for key, x in named.items() if f"gradient {key}" in names}
    logits = 100.0 * np.float64(x) @ ensemble(np.reshape(y, (3, 2, -1))).T
    return found | {"loss": metrics["loss"], "logits of classes": logits}


def applied(network, table, size, state=None) -> np.ndarray:
    """The network's output, by way of the names in its file."""
    state = state or drawn.state({key: row.shape for row in table for key in row.keys})
    apply = jax.jit(network.apply)
    return np.asarray(apply({"params": to_here(table, state)}, cases.images(size)))


def theirs(of: dinov2.Architecture) -> dict[str, np.ndarray]:
    """Weights that are drawn from transformers' names, under the authors'."""
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "proj": "o_proj"}
    state = {}
    for row in dinov2_names.dinov2(of):
        for key in row.keys:
            there = key.replace("blocks.", "encoder.layer.").replace(".ls", ".layer_scale")
            there = there.replace(".gamma", ".lambda1")
            for ours, its in names.items():
                there = there.replace(f".attn.{ours}.", f".attention.{its}.")
            there = {
                "cls_token": "embeddings.cls_token",
                "pos_embed": "embeddings.position_embeddings",
            }.get(there, there)
            there = there.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
            there = there.replace("norm.", "layernorm.") if there.startswith("norm.") else there
            assert dinov2_names.authors_name(there) == key
            state[key] = drawn.weight(there, row.shape)
    return state


if __name__ == "__main__":
    with np.load(sys.argv[1]) as file:
        stored = dict(file)
    ours = outputs(stored)
    print(compare.table("tower", {name: (ours[name], stored[name]) for name in ours}))
