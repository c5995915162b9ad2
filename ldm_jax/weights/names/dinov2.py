"""What others call the weights of DINOv2: the authors, and transformers of versions 4 and 5."""

import re

import numpy as np

from ldm_jax.extractors.dinov2 import Architecture
from ldm_jax.weights.names.layers import dense, norm, patches
from ldm_jax.weights.table import FLAT, SAME, Layout, Row, State, Table

POSITIONS = Layout(lambda w: np.reshape(w, w.shape[1:]), lambda w, shape: np.reshape(w, shape))
AUTHORS = (  # names in transformers -> the authors'
    (r"^embeddings\.cls_token", "cls_token"),
    (r"^embeddings\.position_embeddings", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.(?:attention\.)?(query|key|value)\.", r".attn.\1."),
    (r"\.attention\.q_proj\.", ".attn.query."),
    (r"\.attention\.k_proj\.", ".attn.key."),
    (r"\.attention\.v_proj\.", ".attn.value."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layer_scale(\d)\.lambda1", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)


def dinov2(of: Architecture) -> Table:
    """Rows of the network under the authors' names, q, k and v apart (see `apart`)."""
    C, places = of.channels, of.trained**2 + 1
    table = [
        Row("patches/token", ("cls_token",), (1, 1, C), FLAT),
        Row("position", ("pos_embed",), (1, places, C), POSITIONS),
        patches("patches/project", "patch_embed.proj", C, of.patch),
        Row("patches/project/bias", ("patch_embed.proj.bias",), (C,), SAME),
        *norm("norm", "norm", C),
    ]
    for n in range(of.layers):
        here, there = f"block_{n}", f"blocks.{n}"
        qkv = tuple(f"{there}.attn.{name}" for name in ("query", "key", "value"))
        table += norm(f"{here}/norm1", f"{there}.norm1", C)
        table += dense(f"{here}/qkv", qkv, C, C)
        table += dense(f"{here}/out", f"{there}.attn.proj", C, C)
        table += norm(f"{here}/norm2", f"{there}.norm2", C)
        table += dense(f"{here}/ff_in", f"{there}.mlp.fc1", C, 4 * C)
        table += dense(f"{here}/ff_out", f"{there}.mlp.fc2", 4 * C, C)
        table += [Row(f"{here}/scale{i}", (f"{there}.ls{i}.gamma",), (C,), SAME) for i in (1, 2)]
    return table


def authors_name(key: str) -> str:
    """A key of transformers as the authors have it."""
    for pattern, name in AUTHORS:
        key = re.sub(pattern, name, key)
    return key


def apart(state: State) -> State:
    """The authors' state dict with q, k and v, which it fuses, apart."""
    found = {}
    for key, w in state.items():
        if ".attn.qkv." in key:
            for name, part in zip(("query", "key", "value"), np.split(w, 3), strict=True):
                found[key.replace("qkv", name)] = part
        else:
            found[key] = w
    return found
