"""Adapters of the small Stable Diffusion of `pipeline_cases.py`, and what is asked with them; for
both sides.

Weights are drawn from the names in the files that both sides read, with the adapter's name before
them. Images are uint8, as files have them.
"""

from typing import NamedTuple

import numpy as np

from tests.parity.cases import drawn, pipeline_cases

B, SIDE, FACTOR = pipeline_cases.B, pipeline_cases.SIDE, pipeline_cases.FACTOR
STRENGTH = 0.6
CONTROL = {
    name: pipeline_cases.UNET[name]
    for name in (
        "in_channels",
        "block_out_channels",
        "down_block_types",
        "layers_per_block",
        "attention_head_dim",
        "cross_attention_dim",
        "norm_num_groups",
    )
} | {"conditioning_embedding_out_channels": (16, 32)}  # of a first stage of factor 2
T2I = {"channels": [32, 64], "num_res_blocks": 2, "downscale_factor": FACTOR}
# the cross-attentions, and their channels, in the order in which IP-Adapters number them
CROSSED = {
    "down_blocks_0_attentions_0": 32,
    "up_blocks_1_attentions_0": 32,
    "up_blocks_1_attentions_1": 32,
    "mid_block_attentions_0": 64,
}
CONTEXT = pipeline_cases.UNET["cross_attention_dim"]
EMBEDDING, TOKENS, RANK, ALPHA = 20, 4, 2, 1.0


class Case(NamedTuple):
    """What is asked: with adapters, and from an image or inside a mask.

    words: name of an adapter -> its scale, and the share of the steps in which it acts
    """

    words: dict[str, tuple[float, float, float]]
    guess: bool = False
    image: bool = False
    mask: bool = False


NETS = {"edges": (0.8, 0.0, 0.6), "lines": (0.5, 0.3, 1.0)}
CASES = {  # few, since each is compiled
    "two nets": Case(NETS),
    "guess mode, from an image": Case(NETS, guess=True, image=True),
    "inpainting": Case(NETS, image=True, mask=True),
    "features": Case({"features": (0.6, 0.0, 1.0)}),
    "prompt and weights": Case({"prompt": (0.6, 0.0, 1.0), "weights": (0.7, 0.0, 1.0)}),
}


def uint8(name: str, *shape: int) -> np.ndarray:
    x = 127.5 + 127.5 * np.tanh(drawn.normal(name, shape))
    return np.round(x).astype(np.uint8)


HINTS = {  # [B, H, W, 3]
    name: uint8(f"adapter pipelines {name}", B, SIDE * FACTOR, SIDE * FACTOR, 3)
    for name in ("edges", "lines", "features")
}
IMAGE = uint8("adapter pipelines image", SIDE * FACTOR, SIDE * FACTOR, 3)
MASK = np.zeros((SIDE * FACTOR, SIDE * FACTOR), np.uint8)  # of whole latents
MASK[4:12, 2:10] = 255
PROMPT = drawn.normal("adapter pipelines prompt", (EMBEDDING,))


def image_prompt() -> dict[str, np.ndarray]:
    """An IP-Adapter by its published names."""
    shapes = {
        "image_proj.proj.weight": (TOKENS * CONTEXT, EMBEDDING),
        "image_proj.proj.bias": (TOKENS * CONTEXT,),
        "image_proj.norm.weight": (CONTEXT,),
        "image_proj.norm.bias": (CONTEXT,),
    }
    for i, channels in enumerate(CROSSED.values()):
        for part in "kv":
            shapes[f"ip_adapter.{2 * i + 1}.to_{part}_ip.weight"] = (channels, CONTEXT)
    return pipeline_cases.weights("prompt", shapes)


def low_rank() -> dict[str, np.ndarray]:
    """A LoRA of attentions of both networks, as kohya names it."""
    layers = {  # name -> channels out and in
        f"lora_unet_{place}_transformer_blocks_0_attn{i}_{part}": (
            channels,
            CONTEXT if i == 2 and part in ("to_k", "to_v") else channels,
        )
        for place, channels in CROSSED.items()
        for i in (1, 2)
        for part in ("to_q", "to_k", "to_v", "to_out_0")
    }
    width = pipeline_cases.TEXT["hidden_size"]
    layers |= {
        f"lora_te_text_model_encoder_layers_{i}_self_attn_{part}_proj": (width, width)
        for i in range(pipeline_cases.TEXT["num_hidden_layers"])
        for part in ("q", "k", "v", "out")  # without the last diffusers does not know the layout
    }
    found = {}
    for name, (out, into) in layers.items():
        shapes = {f"{name}.lora_up.weight": (out, RANK), f"{name}.lora_down.weight": (RANK, into)}
        found |= pipeline_cases.weights("weights", shapes)
        found[f"{name}.alpha"] = np.asarray(ALPHA, np.float32)
    return found
