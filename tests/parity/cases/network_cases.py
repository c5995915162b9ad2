"""The small networks, with their inputs, that both sides of the comparison run.

All arrays are laid out as the original's, [B, C, H, W]. Small means few channels and blocks; every
kind of layer is there: attention inside the autoencoder's levels, both attentions of the UNet, a
level without attention (whose upsampling the original numbers differently), a transformer of depth
two, heads that do and do not make up the width of the model. (With 32 channels in 32 groups, a
group norm takes away whatever is constant over the image, so the step is seen, and gradients of
such biases are not zero, only where there are 64 channels.)
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ldm_jax import config as c
from ldm_jax.weights import table
from ldm_jax.weights.names import autoencoder, classifier, clip, text, tiny, unet
from tests.parity.cases import drawn

CONTEXT = 24  # width of the tokens that the UNet attends to


class Case(NamedTuple):
    """One small network."""

    config: object
    table: table.Table
    inputs: dict[str, np.ndarray]
    outputs: dict[str, tuple[int, ...]]  # name -> shape
    gradients: tuple[str, ...]  # inputs and keys by which the loss is differentiated
    faint: tuple[str, ...] = ()  # layers with small weights, so that the next epsilon is seen
    dtype: str = "float32"


def cotangents(case: Case) -> dict[str, np.ndarray]:
    """The loss is the sum of outputs times these."""
    return {
        name: drawn.normal(f"cotangent.{name}", shape).astype(case.dtype)
        for name, shape in case.outputs.items()
    }


def weights(case: Case) -> dict[str, np.ndarray]:
    """The weights under the original's names."""
    state = drawn.state(table.shapes(case.table))
    return {
        key: (w * np.float32(0.03) if key.startswith(case.faint) else w).astype(case.dtype)
        for key, w in state.items()
    }


_kl = c.KLAutoencoder(
    channels=32, channel_mults=(1, 2), num_res_blocks=1, attention_factors=(2,), z_channels=4
)
KL = Case(
    _kl,
    autoencoder.kl_autoencoder(_kl),
    {"image": np.tanh(drawn.normal("image", (2, 3, 16, 16)))},
    {"moments": (2, 8, 8, 8), "recon": (2, 3, 16, 16)},
    (
        "image",
        "encoder.conv_in.weight",
        "encoder.down.0.downsample.conv.bias",
        "encoder.down.1.block.0.nin_shortcut.weight",
        "encoder.down.1.attn.0.q.weight",
        "encoder.mid.attn_1.norm.weight",
        "encoder.norm_out.bias",
        "quant_conv.weight",
        "post_quant_conv.bias",
        "decoder.mid.attn_1.v.bias",
        "decoder.up.1.attn.1.proj_out.bias",
        "decoder.up.1.upsample.conv.bias",
        "decoder.up.0.block.1.norm2.weight",
        "decoder.conv_out.weight",
    ),
)

_steps = np.asarray([7, 801])
_unet_tokens = c.UNet(
    channels=32,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_factors=(1,),
    num_heads=2,
    transformer_depth=2,
)
UNET_TOKENS = Case(
    _unet_tokens,
    unet.unet(_unet_tokens, 4, 4, CONTEXT),
    {
        "x": drawn.normal("x", (2, 4, 8, 8)),
        "t": _steps,
        "context": drawn.normal("context", (2, 5, CONTEXT)),
    },
    {"y": (2, 4, 8, 8)},
    (
        "x",
        "context",
        "time_embed.0.bias",
        "input_blocks.0.0.weight",
        "input_blocks.1.1.norm.weight",
        "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight",
        "input_blocks.1.1.transformer_blocks.1.attn2.to_k.weight",
        "input_blocks.2.0.op.bias",
        "input_blocks.3.0.emb_layers.1.bias",
        "middle_block.1.transformer_blocks.0.ff.net.0.proj.bias",
        "middle_block.1.proj_in.bias",
        "output_blocks.1.1.conv.bias",
        "output_blocks.3.1.transformer_blocks.1.norm3.weight",
        "output_blocks.3.0.skip_connection.weight",
        "out.0.weight",
    ),
    # what the first spatial transformer reads; its norm has an epsilon of its own
    faint=("input_blocks.0.0.", "input_blocks.1.0.out_layers.3."),
)

_unet_attention = c.UNet(
    channels=32, channel_mults=(1, 2), num_res_blocks=1, attention_factors=(2,), head_channels=16
)
UNET_ATTENTION = Case(
    _unet_attention,
    unet.unet(_unet_attention, 3, 3, None),
    {"x": drawn.normal("x", (2, 3, 8, 8)), "t": _steps},
    {"y": (2, 3, 8, 8)},
    (
        "x",
        "time_embed.2.bias",
        "input_blocks.1.0.in_layers.0.weight",
        "input_blocks.3.1.norm.bias",
        "input_blocks.3.1.qkv.bias",
        "middle_block.1.proj_out.weight",
        "output_blocks.1.1.qkv.bias",
        "output_blocks.1.2.conv.bias",
        "out.2.weight",
    ),
)

# What some of the zoo has besides; compared with the original code by `make/unet_reference.py`
_unet_blocks = c.UNet(
    channels=32,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_factors=(1,),
    num_heads=4,
    scale_shift=True,
    resample_blocks=True,
)
UNET_BLOCKS = Case(
    _unet_blocks,
    unet.unet(_unet_blocks, 4, 4, None),
    {
        "x": drawn.normal("x", (2, 4, 8, 8)),
        "t": _steps,
        "vector": 0.5 * drawn.normal("vector", (2, 128)),
    },
    {"y": (2, 4, 8, 8)},
    (
        "x",
        "vector",
        "time_embed.2.bias",
        "input_blocks.1.0.emb_layers.1.bias",
        "input_blocks.1.1.qkv.bias",
        "input_blocks.2.0.in_layers.0.bias",
        "input_blocks.2.0.emb_layers.1.bias",
        "input_blocks.3.0.out_layers.0.bias",
        "output_blocks.1.1.in_layers.0.weight",
        "output_blocks.1.1.out_layers.3.bias",
        "output_blocks.3.0.emb_layers.1.bias",
        "output_blocks.3.1.proj_out.weight",
    ),
)

_classifier = c.Classifier(
    channels=32,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_factors=(2,),
    head_channels=16,
)
CLASSIFIER = Case(
    _classifier,
    classifier.classifier(_classifier, 3, 5, 8),
    {"x": drawn.normal("x", (2, 3, 8, 8)), "t": np.array([3, 700])},
    {"logits": (2, 5)},
    (
        "x",
        "time_embed.0.weight",
        "input_blocks.2.0.emb_layers.1.bias",
        "input_blocks.3.1.qkv.bias",
        "middle_block.2.out_layers.3.bias",
        "out.0.bias",
        "out.2.positional_embedding",
        "out.2.qkv_proj.bias",
        "out.2.c_proj.weight",
    ),
)

_unet_layout = c.UNet(
    channels=32,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_factors=(2,),
    head_channels=16,
    transformer_depth=3,
)
UNET_DEPTH = Case(
    _unet_layout,
    unet.unet(_unet_layout, 6, 3, CONTEXT),
    {
        "x": drawn.normal("x", (2, 6, 8, 8)),
        "t": _steps,
        "context": drawn.normal("context", (2, 5, CONTEXT)),
    },
    {"y": (2, 3, 8, 8)},
    (
        "x",
        "context",
        "input_blocks.0.0.weight",
        "input_blocks.3.1.transformer_blocks.2.attn2.to_out.0.bias",
        "middle_block.1.transformer_blocks.1.attn1.to_out.0.bias",
        "output_blocks.0.1.transformer_blocks.2.ff.net.2.bias",
        "output_blocks.1.2.conv.bias",
        "out.2.bias",
    ),
)

# ... and with diffusers: what Stable Diffusion's descendants have
_unet_vector = c.UNet(
    channels=32,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_factors=(1, 2),
    num_heads=2,
    cross_only_factors=(1,),
    linear_projections=True,
    vector_dim=20,
)
UNET_VECTOR = Case(
    _unet_vector,
    unet.unet(_unet_vector, 4, 4, CONTEXT),
    {
        "x": drawn.normal("x", (2, 4, 8, 8)),
        "t": _steps,
        "context": drawn.normal("context", (2, 5, CONTEXT)),
        "vector": drawn.normal("vector", (2, 20)),
    },
    {"y": (2, 4, 8, 8)},
    (
        "x",
        "context",
        "vector",
        "label_emb.0.0.weight",
        "label_emb.0.2.bias",
        "input_blocks.1.1.proj_in.weight",
        "input_blocks.1.1.transformer_blocks.0.attn1.to_k.weight",
        "input_blocks.3.1.transformer_blocks.0.attn1.to_k.weight",
        "output_blocks.3.1.norm.bias",
    ),
)

# width 24 while the heads together are 32, as 1280 and 512 in the original
_text = c.Text(dim=24, layers=2, num_heads=2, head_dim=16, length=7, vocab_size=11)
TEXT = Case(
    _text,
    text.text_transformer(_text),
    {"ids": np.asarray([[1, 5, 9, 2, 0, 0, 0], [1, 10, 3, 3, 7, 4, 2]])},
    {"tokens": (2, 7, 24)},
    (
        "transformer.token_emb.weight",
        "transformer.pos_emb.emb.weight",
        "transformer.attn_layers.layers.0.0.weight",
        "transformer.attn_layers.layers.0.1.to_k.weight",
        "transformer.attn_layers.layers.1.1.net.0.0.weight",
        "transformer.attn_layers.layers.2.1.to_out.weight",
        "transformer.attn_layers.layers.3.1.net.2.bias",
        "transformer.norm.bias",
    ),
)

_clip = c.CLIPText(dim=24, layers=2, num_heads=2, head_dim=12, length=7, vocab_size=11)
_ids = np.asarray([[1, 5, 9, 2, 10, 10, 10], [1, 8, 3, 3, 7, 4, 10]])
CLIP = Case(
    _clip,
    clip.text_encoder(_clip),
    {"ids": _ids},
    {"tokens": (2, 7, 24)},
    (
        "transformer.text_model.embeddings.token_embedding.weight",
        "transformer.text_model.embeddings.position_embedding.weight",
        "transformer.text_model.encoder.layers.0.layer_norm1.weight",
        "transformer.text_model.encoder.layers.0.self_attn.k_proj.weight",
        "transformer.text_model.encoder.layers.0.self_attn.v_proj.bias",
        "transformer.text_model.encoder.layers.1.mlp.fc1.weight",
        "transformer.text_model.encoder.layers.1.self_attn.out_proj.weight",
        "transformer.text_model.final_layer_norm.bias",
    ),
)

_openclip = replace(_clip, weights="openclip")
OPENCLIP = Case(
    _openclip,
    clip.text_encoder(_openclip),
    {"ids": _ids},
    {"tokens": (2, 7, 24)},
    (
        "model.token_embedding.weight",
        "model.positional_embedding",
        "model.transformer.resblocks.0.attn.in_proj_weight",
        "model.transformer.resblocks.0.attn.in_proj_bias",
        "model.transformer.resblocks.1.mlp.c_fc.weight",
        "model.transformer.resblocks.1.ln_2.weight",
        "model.ln_final.weight",
    ),
)


def _tiny(config: c.TinyAutoencoder, size: int, dtype: str = "float32") -> Case:
    """A tiny autoencoder at `size` pixels; some latents are so large that the decoder clamps."""
    levels, side = len(config.blocks), size // 2 ** (len(config.blocks) - 1)
    names = tiny.tiny_autoencoder(config)
    downsample = f"encoder.{1 + config.blocks[0]}"
    return Case(
        config,
        names,
        {
            "image": np.tanh(drawn.normal("image", (2, 3, size, size))).astype(dtype),
            "z": 2 * drawn.normal("z", (2, config.z_channels, side, side)).astype(dtype),
        },
        {"latents": (2, config.z_channels, side, side), "decoded": (2, 3, size, size)},
        (
            "image",
            "z",
            "encoder.0.weight",
            "encoder.1.conv.2.bias",
            f"{downsample}.weight",
            f"encoder.{sum(config.blocks) + levels}.bias",
            "decoder.1.weight",
            "decoder.3.conv.0.weight",
            "decoder.3.conv.4.bias",
            f"decoder.{4 + config.blocks[-1]}.weight",
            f"decoder.{sum(config.blocks) + 2 * levels + 1}.weight",
        ),
        dtype=dtype,
    )


TINY = _tiny(c.TinyAutoencoder(8, (1, 2, 1), 3), 16)

_norm = _tiny(c.TinyAutoencoder(8, (1, 1), 3, mid_norm=True), 8)
TINY_NORM = _norm._replace(
    gradients=(
        "image",
        "encoder.3.pool.0.weight",
        "decoder.3.pool.1.bias",
        "decoder.3.pool.3.weight",
    )
)

# As published; see full_size_tiny.py. Among millions of inputs of a ReLU some are so near zero that
# float32 rounds them to the other side, and their gradient is another: hence float64.
FULL_SIZE = {
    "taesd": _tiny(c.TinyAutoencoder(), 64, "float64"),
    "taesd3": _tiny(c.TinyAutoencoder(z_channels=16), 64, "float64"),
}

CASES = {
    "kl": KL,
    "unet_tokens": UNET_TOKENS,
    "unet_attention": UNET_ATTENTION,
    "unet_blocks": UNET_BLOCKS,
    "classifier": CLASSIFIER,
    "unet_depth": UNET_DEPTH,
    "unet_vector": UNET_VECTOR,
    "text": TEXT,
    "clip": CLIP,
    "openclip": OPENCLIP,
    "tiny": TINY,
    "tiny_norm": TINY_NORM,
}
