"""Published names of the weights of CLIP's encoders.

Stable Diffusion 1 holds that of captions as transformers does, version 2 as OpenCLIP does. That of
images alone is read from transformers' files, both together from either's; OpenAI's own have the
names of OpenCLIP's.
"""

from typing import Protocol

from ldm_jax.encoders.clip.model import CLIP
from ldm_jax.encoders.clip.vision import Architecture
from ldm_jax.weights.names.layers import dense, embedding, norm, patches
from ldm_jax.weights.table import DENSE, SAME, Row, Table, under


class Encoder(Protocol):
    """What the shapes of a text encoder depend on."""

    dim: int
    layers: int
    length: int
    vocab_size: int


class PublishedEncoder(Encoder, Protocol):
    """The same, and whose names it has: "openai" or "openclip"."""

    weights: str


def text_encoder(config: PublishedEncoder) -> Table:
    """Rows of the text encoder, under the names of `config.weights`."""
    if config.weights == "openclip":
        return _openclip(config, "model.")
    return _transformers(config, "transformer.text_model")


def both_encoders(of: CLIP, layout: str) -> Table:
    """Rows of a whole model, as "transformers" names it or as "openclip" does."""
    C, dim = of.text.dim, of.vision.dim
    if layout == "openclip":
        vision, text = openclip_vision(of.vision), _openclip(of.text, "")
        into = [Row("text_project/kernel", ("text_projection",), (C, dim), SAME)]
    else:
        vision, text = image_encoder(of.vision), _transformers(of.text, "text_model")
        into = dense("text_project", "text_projection", C, dim, bias=False)
    return [*under(vision, "vision/"), *under(text, "text/"), *into]


def captions(of: Encoder, dim: int, layout: str) -> Table:
    """Rows of the text encoder of a whole model with its projection into the shared space.

    Args:
        dim: of that space.
    """
    if layout == "openclip":
        into = [Row("project/kernel", ("text_projection",), (of.dim, dim), SAME)]
        return [*_openclip(of, ""), *into]
    return [
        *_transformers(of, "text_model"),
        *dense("project", "text_projection", of.dim, dim, bias=False),
    ]


def images(of: Architecture, layout: str) -> Table:
    """Rows of the image encoder of a whole model."""
    return openclip_vision(of) if layout == "openclip" else image_encoder(of)


def transformers_names(config: Encoder) -> Table:
    """Rows of the text encoder under transformers' names, for either kind of weights."""
    return _transformers(config, "text_model")


def _transformers(config: Encoder, model: str) -> Table:
    dim = config.dim
    there = f"{model}.embeddings"
    table = embedding("token/embedding", f"{there}.token_embedding", config.vocab_size, dim)
    table += embedding("position", f"{there}.position_embedding", config.length, dim)
    table += blocks(model, config.layers, dim)
    return table + norm("norm", f"{model}.final_layer_norm", dim)


# what the parts of a block are called
TRANSFORMERS = (
    "encoder.layers", "layer_norm1", "self_attn", "layer_norm2", "mlp.fc1", "mlp.fc2",
)  # fmt: skip
OPENCLIP = ("resblocks", "ln_1", "attn", "ln_2", "mlp.c_fc", "mlp.c_proj")


def blocks(model: str, layers: int, dim: int, names: tuple[str, ...] = TRANSFORMERS) -> Table:
    """The transformer of either encoder."""
    blocks, norm1, attention, norm2, ff_in, ff_out = names
    table: Table = []
    for n in range(layers):
        here, there = f"block_{n}", f"{model}.{blocks}.{n}"
        heads = f"{there}.{attention}"
        table += norm(f"{here}/norm1", f"{there}.{norm1}", dim)
        if names == OPENCLIP:  # q, k and v are one weight
            fused = f"{heads}.in_proj"
            table += [Row(f"{here}/qkv/kernel", (f"{fused}_weight",), (3 * dim, dim), DENSE)]
            table += [Row(f"{here}/qkv/bias", (f"{fused}_bias",), (3 * dim,), SAME)]
        else:
            table += dense(f"{here}/qkv", tuple(f"{heads}.{x}_proj" for x in "qkv"), dim, dim)
        table += dense(f"{here}/out", f"{heads}.out_proj", dim, dim)
        table += norm(f"{here}/norm2", f"{there}.{norm2}", dim)
        table += dense(f"{here}/ff_in", f"{there}.{ff_in}", dim, 4 * dim)
        table += dense(f"{here}/ff_out", f"{there}.{ff_out}", 4 * dim, dim)
    return table


def image_encoder(of: Architecture) -> Table:
    """Rows of the image encoder, under transformers' names."""
    C, places = of.channels, (of.size // of.patch) ** 2 + 1
    there = "vision_model.embeddings"
    return [
        Row("patches/token", (f"{there}.class_embedding",), (C,), SAME),
        patches("patches/project", f"{there}.patch_embedding", C, of.patch),
        *embedding("position", f"{there}.position_embedding", places, C),
        *norm("norm_in", "vision_model.pre_layrnorm", C),  # so spelled
        *blocks("vision_model", of.layers, C),
        *norm("norm", "vision_model.post_layernorm", C),
        *dense("project", "visual_projection", C, of.dim, bias=False),
    ]


def _openclip(config: Encoder, model: str) -> Table:
    dim = config.dim
    table = embedding("token/embedding", f"{model}token_embedding", config.vocab_size, dim)
    table += [Row("position", (f"{model}positional_embedding",), (config.length, dim), SAME)]
    table += blocks(f"{model}transformer", config.layers, dim, OPENCLIP)
    return table + norm("norm", f"{model}ln_final", dim)


def openclip_vision(of: Architecture) -> Table:
    """Rows of the image encoder, under the names of OpenCLIP and OpenAI."""
    C, places = of.channels, (of.size // of.patch) ** 2 + 1
    return [
        Row("patches/token", ("visual.class_embedding",), (C,), SAME),
        patches("patches/project", "visual.conv1", C, of.patch),
        Row("position", ("visual.positional_embedding",), (places, C), SAME),
        *norm("norm_in", "visual.ln_pre", C),
        *blocks("visual.transformer", of.layers, C, OPENCLIP),
        *norm("norm", "visual.ln_post", C),
        Row("project/kernel", ("visual.proj",), (C, of.dim), SAME),
    ]


# other entries of files of the text encoder: the projection into the shared space, and in version 2
# the last layer, which is not used
UNUSED = (
    r"model\.(text_projection|transformer\.resblocks\.\d+\..*)"
    r"|transformer\.text_model\.encoder\.layers\.23\..*"
)
