"""The names of the weights of Karlo, an unCLIP (kakaobrain/karlo), and diffusers' of the same.

Both layouts are rows of the same parameters, so that a file of either becomes the same. Keys of the
authors are without the prefix of all of them.
"""

import re
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np

from ldm_jax.weights.names import unet as unet_names
from ldm_jax.weights.names.diffusers_model import unet_names as unet_names_there
from ldm_jax.weights.names.layers import dense, norm
from ldm_jax.weights.table import FLAT, SAME, Layout, Row, Table, under

Side = Literal["original", "diffusers"]  # whose names
PREFIXES = {"prior": "model.", "decoder": "model.", "upsampler": ""}  # of the authors' keys
STATISTICS = "clip_mean", "clip_std"  # [1, d] of the embeddings, among diffusers' weights

# [1, n, C], ours without the first axis
FIRST = Layout(lambda w: w[0], lambda w, shape: np.reshape(w, shape))

PRIOR = {  # here -> the authors' name and diffusers'
    "query": ("prd_emb", "prd_embedding"),
    "time_1": ("time_embed.0", "time_embedding.linear_1"),
    "time_2": ("time_embed.2", "time_embedding.linear_2"),
    "in": ("clip_img_proj", "proj_in"),
    "vector": ("text_emb_proj", "embedding_proj"),
    "tokens": ("text_enc_proj", "encoder_hidden_states_proj"),
    "norm": ("final_ln", "norm_out"),
    "project": ("out_proj", "proj_to_clip_embeddings"),
    "block": ("transformer.resblocks", "transformer_blocks"),
    "norm1": ("ln_1", "norm1"),
    "out": ("attn.c_proj", "attn1.to_out.0"),
    "norm2": ("ln_2", "norm3"),
    "ff_in": ("mlp.c_fc", "ff.net.0.proj"),
    "ff_out": ("mlp.c_proj", "ff.net.2"),
}


def by_head(heads: int) -> Layout:
    """q, k and v of each head side by side, [heads, 3, d, ...]; ours: those of all heads one after
    the other, and kernels [I, O]."""

    def to_here(w: np.ndarray) -> np.ndarray:
        w = np.moveaxis(w.reshape(heads, 3, -1, *w.shape[1:]), 1, 0)
        return w.reshape(-1, *w.shape[3:]).T

    def to_original(w: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        w = w.T
        return np.moveaxis(w.reshape(3, heads, -1, *w.shape[1:]), 0, 1).reshape(shape)

    return Layout(to_here, to_original)


def prior(config: Any, embedding: int, tokens: int, side: Side) -> Table:
    """Rows of the prior's network, settings of which are `PriorTransformer`.

    Args:
        embedding: width of an image embedding.
        tokens: width of a caption's tokens.
    """
    own = {here: names[side == "diffusers"] for here, names in PRIOR.items()}
    C, n, heads = config.channels, config.places, config.num_heads
    table = [
        Row("position", ("positional_embedding",), (1, n, C), FIRST),
        Row("query", (own["query"],), (1, 1, C), FLAT),
        *dense("time_1", own["time_1"], C, C),
        *dense("time_2", own["time_2"], C, C),
        *dense("in", own["in"], embedding, C),
        *dense("vector", own["vector"], config.vector_dim, C),
        *dense("tokens", own["tokens"], tokens, C),
        *norm("norm", own["norm"], C),
        *dense("out", own["project"], C, embedding),
    ]
    for i in range(config.layers):
        block = [*norm("norm1", own["norm1"], C), *dense("out", own["out"], C, C)]
        block += norm("norm2", own["norm2"], C)
        block += dense("ff_in", own["ff_in"], C, 4 * C)
        block += dense("ff_out", own["ff_out"], 4 * C, C)
        if side == "diffusers":
            block += dense("qkv", tuple(f"attn1.to_{name}" for name in "qkv"), C, C)
        else:
            rows, layout = dense("qkv", "attn.c_qkv", C, 3 * C), by_head(heads)
            block += [row._replace(layout=layout) for row in rows]
        table += under(block, f"block_{i}/", f"{own['block']}.{i}.")
    return table


def statistics(embedding: int) -> Table:
    """Mean and deviation of image embeddings, as diffusers has them beside the prior's weights."""
    each = zip(("mean", "std"), STATISTICS, strict=True)
    return [Row(here, (there,), (1, embedding), FLAT) for here, there in each]


PROJECTION = {  # part of the decoder here -> the authors' name, and that in diffusers' text_proj
    "caption": ("text_feat_proj", "embedding_proj"),
    "image": ("clip_emb", "clip_image_embeddings_project_to_time_embeddings"),
    "extra": ("clip_tok_proj", "clip_extra_context_tokens_proj"),
    "tokens": ("text_seq_proj.0", "encoder_hidden_states_proj"),
    "norm": ("text_seq_proj.1", "text_encoder_hidden_states_norm"),
    "null": ("cf_param", "learned_classifier_free_guidance_embeddings"),
}


def projection(config: Any, tokens: int, side: Side) -> Table:
    """Rows of the decoder's projections of CLIP's embeddings; settings are `UnCLIPDecoder`.

    Args:
        tokens: width of a caption's tokens.
    """
    own = {here: names[side == "diffusers"] for here, names in PROJECTION.items()}
    embedding, width, d = config.vector_dim // 2, 4 * config.channels, config.context_dim
    table = [
        Row("null", (own["null"],), (embedding,), SAME),
        *dense("caption", own["caption"], embedding, width),
        *dense("image", own["image"], embedding, width),
        *dense("extra", own["extra"], embedding, config.extra_tokens * d),
        *dense("tokens", own["tokens"], tokens, d),
        *norm("norm", own["norm"], d),
    ]
    return under(table, "project/")


def unet(config: Any, inputs: int, outputs: int, side: Side, prefix: str = "") -> Table:
    """Rows of the decoder's UNet, or of one of the upsampler's.

    Args:
        prefix: of the authors' keys.
    """
    reads = getattr(config, "context_dim", None)
    plain = SimpleNamespace(**vars(config) | {"vector_dim": None})
    table = unet_names.unet(plain, inputs, outputs, reads)
    if side == "original":
        return under(table, there=prefix)
    levels = len(config.channel_mults)
    return [_in_diffusers(row, levels, config.head_channels) for row in table]


def _in_diffusers(row: Row, levels: int, head: int | None) -> Row:
    """A row in the names of diffusers, which has q, k and v of an attention apart."""
    found = re.fullmatch(r"(.*attn(?:_\d+)?)/(norm|qkv|context|out)/(kernel|bias|scale)", row.path)
    if not found:
        return unet_names_there([row], levels)[0]
    layer, part, kind = found.groups()
    (marked,) = unet_names_there([row._replace(path=f"{layer}/x")], levels)
    there, end = marked.keys[0].removesuffix(".x"), "bias" if kind == "bias" else "weight"
    names = {
        "norm": ("group_norm",),
        "qkv": ("to_q", "to_k", "to_v"),
        "context": ("add_k_proj", "add_v_proj"),
        "out": ("to_out.0",),
    }[part]
    keys, outputs = tuple(f"{there}.{name}.{end}" for name in names), row.shape[0] // len(names)
    groups = outputs // head if len(names) > 1 else 1
    return row._replace(keys=keys, shape=(outputs, *row.shape[1:2]), groups=groups)


UPSAMPLERS = {"first": "model_first_steps.", "last": "model_last_step."}  # the authors' prefixes


def upsampler(config: Any, side: Side) -> dict[str, Table]:
    """Rows of both networks of the upsampler, settings of which are `LastStepUNet`."""
    return {
        here: under(unet(config, 6, 3, side, there), f"{here}/")
        for here, there in UPSAMPLERS.items()
    }
