"""Makes the reference arrays of this folder from torch and diffusers.

    pip install torch==2.13.0 diffusers==0.42.1 transformers==5.23.0
    python -m tests.parity.make.reference [--full-size FOLDER]

With --full-size it makes those of `cases.FULL_SIZE` instead, in FOLDER. Those of the UNets that
diffusers does not have come from the original code, see `make/unet_reference.py`.

Weights are drawn from the original's names. The UNet and the autoencoder are renamed by diffusers'
own converter of original checkpoints; what that does not know (the text transformer, attention
blocks without context, attention inside the autoencoder's levels) is renamed here. Loading is
strict, so no weight can be left over on either side.
"""

import argparse
import functools
import re
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel, UNet2DModel
from diffusers.loaders import single_file_utils as single_file
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from transformers import CLIPTextConfig, CLIPTextModel

from tests.parity.cases import network_cases as cases
from tests.parity.folders import ARRAYS


def renamed(state, rules):
    """The state dict with its keys rewritten by (pattern, replacement), in order."""

    def rename(key):
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        return key

    return {rename(key): w for key, w in state.items()}


# From a config and the original's weights to a network of diffusers and the weights that it calls
# its own, which are differentiable functions of the original's


def autoencoder(config, state):
    """diffusers' autoencoder."""
    levels = len(config.channel_mults)
    kinds = [2**n in config.attention_factors for n in range(levels)]
    model = AutoencoderKL(
        down_block_types=["AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in kinds],
        up_block_types=["AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in kinds[::-1]],
        block_out_channels=[config.channels * m for m in config.channel_mults],
        layers_per_block=config.num_res_blocks,
        latent_channels=config.z_channels,
        mid_block_add_attention=config.mid_attention,
    )
    attention = {key: w for key, w in state.items() if ".attn." in key}
    rest = {key: w for key, w in state.items() if key not in attention}
    loaded = single_file.convert_ldm_vae_checkpoint(rest, model.config)
    loaded |= renamed(
        {k: w[..., 0, 0] if w.ndim == 4 else w for k, w in attention.items()},
        [
            (r"encoder\.down\.(\d+)\.attn", r"encoder.down_blocks.\1.attentions"),
            # diffusers counts the decoder's levels from the lowest resolution
            (
                r"decoder\.up\.(\d+)\.attn",
                lambda m: f"decoder.up_blocks.{levels - 1 - int(m[1])}.attentions",
            ),
            (r"\.norm\.", ".group_norm."),
            (r"\.([qkv])\.", r".to_\1."),
            (r"\.proj_out\.", ".to_out.0."),
        ],
    )
    return model, loaded


def _unet_arguments(config, inside, plain, channels):
    kinds = [2**n in config.attention_factors for n in range(len(config.channel_mults))]
    return {
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": [config.channels * m for m in config.channel_mults],
        "layers_per_block": config.num_res_blocks,
        "down_block_types": [f"{inside if a else plain}DownBlock2D" for a in kinds],
        "up_block_types": [f"{inside if a else plain}UpBlock2D" for a in kinds[::-1]],
        "norm_eps": 1e-5,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
    }


def unet_with_tokens(config, state, channels):
    """diffusers' UNet with spatial transformers."""
    factors = [2**n for n in range(len(config.channel_mults))]
    model = UNet2DConditionModel(
        **_unet_arguments(config, "CrossAttn", "", channels),
        attention_head_dim=config.num_heads,  # diffusers means the number of heads here
        cross_attention_dim=cases.CONTEXT,
        transformer_layers_per_block=config.transformer_depth,
        only_cross_attention=[f in config.cross_only_factors for f in factors],
        mid_block_only_cross_attention=False,
        use_linear_projection=config.linear_projections,
        class_embed_type="projection" if config.vector_dim else None,
        projection_class_embeddings_input_dim=config.vector_dim,
    )
    prefixed = {single_file.LDM_UNET_KEY + key: w for key, w in state.items()}
    return model, single_file.convert_ldm_unet_checkpoint(prefixed, model.config)


def unet_without_tokens(config, state, channels):
    """diffusers' UNet with plain self-attention."""
    model = UNet2DModel(
        **_unet_arguments(config, "Attn", "", channels),
        attention_head_dim=config.head_channels,
        downsample_padding=1,
    )
    prefixed = {single_file.LDM_UNET_KEY + key: w for key, w in state.items()}
    loaded = {}
    for key, w in single_file.convert_ldm_unet_checkpoint(prefixed, model.config).items():
        if ".attentions." not in key:
            loaded[key] = w
        elif ".qkv." in key:  # head-major: [heads, (q, k, v), d]
            by_head = w.reshape(-1, 3, config.head_channels, *w.shape[1:2])
            for n, name in enumerate("qkv"):
                loaded[key.replace("qkv", f"to_{name}")] = by_head[:, n].flatten(0, 1)
        else:
            key = key.replace(".norm.", ".group_norm.").replace(".proj_out.", ".to_out.0.")
            loaded[key] = w[..., 0] if w.ndim == 3 else w
    return model, loaded


def text_transformer(config, state):
    """diffusers' copy of the BERT-style encoder, without the head that nobody uses."""
    model = LDMBertModel(
        LDMBertConfig(
            vocab_size=config.vocab_size,
            max_position_embeddings=config.length,
            encoder_layers=config.layers,
            encoder_ffn_dim=4 * config.dim,
            encoder_attention_heads=config.num_heads,
            head_dim=config.head_dim,
            d_model=config.dim,
            dropout=0.0,
        )
    ).model
    layer = r"transformer\.attn_layers\.layers\.(\d+)\."
    kinds = ("attention", "ff")
    rules = [
        (r"transformer\.token_emb", "embed_tokens"),
        (r"transformer\.pos_emb\.emb", "embed_positions"),
        (r"transformer\.norm", "layer_norm"),
        (layer, lambda m: f"layers.{int(m[1]) // 2}.{kinds[int(m[1]) % 2]}."),
        (r"attention\.0", "self_attn_layer_norm"),
        (r"attention\.1\.to_(\w+)", r"self_attn.\1_proj"),
        (r"ff\.0", "final_layer_norm"),
        (r"ff\.1\.net\.0\.0", "fc1"),
        (r"ff\.1\.net\.2", "fc2"),
    ]
    return model, renamed(state, rules)


def clip_text(config, state):
    """transformers' text encoder of CLIP; the names of OpenCLIP are rewritten as its own."""
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.dim,
            intermediate_size=4 * config.dim,
            num_hidden_layers=config.layers,
            num_attention_heads=config.num_heads,
            max_position_embeddings=config.length,
            hidden_act="gelu" if config.weights == "openclip" else "quick_gelu",
            attn_implementation="eager",
        )
    )
    if config.weights == "openai":
        return model, renamed(state, [(r"transformer\.text_model\.", "")])
    block = r"model\.transformer\.resblocks"
    loaded = renamed(
        state,
        [
            (r"model\.token_embedding", "embeddings.token_embedding"),
            (r"model\.positional_embedding", "embeddings.position_embedding.weight"),
            (r"model\.ln_final", "final_layer_norm"),
            (block, "encoder.layers"),
            (r"\.ln_([12])", r".layer_norm\1"),
            (r"\.attn\.out_proj", ".self_attn.out_proj"),
            (r"mlp\.c_fc", "mlp.fc1"),
            (r"mlp\.c_proj", "mlp.fc2"),
        ],
    )
    for key in [key for key in loaded if "in_proj_" in key]:
        parts = loaded.pop(key).chunk(3)
        for name, part in zip("qkv", parts, strict=True):
            loaded[key.replace("attn.in_proj_", f"self_attn.{name}_proj.")] = part
    return model, loaded


class NormedBlock(AutoencoderTinyBlock):
    """The block of taef2, which diffusers does not have: a branch over the whole image first."""

    def __init__(self, channels):
        super().__init__(channels, channels, "relu")
        self.pool = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 4 * channels, 1, bias=False),
            torch.nn.GroupNorm(4, 4 * channels),
            torch.nn.ReLU(),
            torch.nn.Conv2d(4 * channels, channels, 1, bias=False),
        )

    def forward(self, x):
        return super().forward(x + self.pool(x))


def tiny_autoencoder(config, state):
    """diffusers' tiny autoencoder, which gives the decoder's clamp no number."""
    channels = [config.channels] * len(config.blocks)
    model = AutoencoderTiny(
        encoder_block_out_channels=channels,
        decoder_block_out_channels=channels,
        num_encoder_blocks=config.blocks,
        num_decoder_blocks=config.blocks[::-1],
        latent_channels=config.z_channels,
    )
    if config.mid_norm:
        count = config.blocks[-1]
        last = len(model.encoder.layers) - 1
        for layers, numbers in (
            (model.encoder.layers, range(last - count, last)),
            (model.decoder.layers, range(2, 2 + count)),
        ):
            for n in numbers:
                layers[n] = NormedBlock(config.channels)
    rules = [
        (r"^encoder", "encoder.layers"),
        (r"^decoder\.(\d+)", lambda m: f"decoder.layers.{int(m[1]) - 1}"),
    ]
    return model, renamed(state, rules)


# Outputs and gradients


class Calling(torch.nn.Module):
    """Gives a function of a model the form of a module, as `functional_call` wants it."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, inputs):
        return self.function(self.model, **inputs)


def both_ways(model, image):
    """The moments, and the decoding of their mean."""
    moments = model.encode(image).latent_dist.parameters
    return {"moments": moments, "recon": model.decode(moments.chunk(2, dim=1)[0]).sample}


def each_way(model, image, z):
    """The latents of an image, and the image of other latents."""
    return {"latents": model.encode(image).latents, "decoded": model.decode(z).sample}


def denoise(model, x, t, context=None, vector=None):
    """One call of the UNet."""
    options = {} if context is None else {"encoder_hidden_states": context}
    options |= {} if vector is None else {"class_labels": vector}
    return {"y": model(x, t, **options).sample}


def embed(model, ids):
    """One call of the text transformer."""
    return {"tokens": model(ids, return_dict=False)[0]}


def differentiable(arrays):
    """Arrays as leaves of torch's graph."""
    return {
        name: torch.tensor(array).requires_grad_(array.dtype.kind == "f")
        for name, array in arrays.items()
    }


def outputs_and_gradients(case, build, function):
    """The outputs of the reference, and the gradients of the loss, named `grad:NAME`."""
    inputs, state = differentiable(case.inputs), differentiable(cases.weights(case))
    model, loaded = build(case.config, state)
    found = {(key, tuple(w.shape)) for key, w in loaded.items()}
    expected = {(key, tuple(w.shape)) for key, w in model.state_dict().items()}
    assert found == expected, f"left over or missing: {sorted(found ^ expected)}"
    outputs = torch.func.functional_call(
        Calling(model.eval(), function), {f"model.{k}": w for k, w in loaded.items()}, (inputs,)
    )
    cotangents = cases.cotangents(case)
    loss = sum((outputs[name] * torch.tensor(c)).sum() for name, c in cotangents.items())
    gradients = torch.autograd.grad(loss, [(inputs | state)[name] for name in case.gradients])
    found = outputs | {f"grad:{n}": g for n, g in zip(case.gradients, gradients, strict=True)}
    return {name: array.detach().numpy() for name, array in found.items()}


def networks():
    """The reference of each of `cases.CASES`."""
    return {
        "kl": outputs_and_gradients(cases.KL, autoencoder, both_ways),
        "unet_tokens": outputs_and_gradients(
            cases.UNET_TOKENS, functools.partial(unet_with_tokens, channels=4), denoise
        ),
        "unet_attention": outputs_and_gradients(
            cases.UNET_ATTENTION, functools.partial(unet_without_tokens, channels=3), denoise
        ),
        "unet_vector": outputs_and_gradients(
            cases.UNET_VECTOR, functools.partial(unet_with_tokens, channels=4), denoise
        ),
        "text": outputs_and_gradients(cases.TEXT, text_transformer, embed),
        "clip": outputs_and_gradients(cases.CLIP, clip_text, embed),
        "openclip": outputs_and_gradients(cases.OPENCLIP, clip_text, embed),
        "tiny": outputs_and_gradients(cases.TINY, tiny_autoencoder, each_way),
        "tiny_norm": outputs_and_gradients(cases.TINY_NORM, tiny_autoencoder, each_way),
    }


def full_size():
    """The reference of each of `cases.FULL_SIZE`."""
    return {
        name: outputs_and_gradients(case, tiny_autoencoder, each_way)
        for name, case in cases.FULL_SIZE.items()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--full-size", type=Path, metavar="FOLDER")
    folder = parser.parse_args().full_size
    torch.set_num_threads(1)
    made = full_size() if folder else networks()
    for name, arrays in made.items():
        np.savez_compressed((folder or ARRAYS) / f"{name}.npz", **arrays)
