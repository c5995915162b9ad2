"""A small unCLIP, as diffusers describes Karlo, and its inputs. Words and numbers alone."""

import numpy as np

from tests.parity.cases import drawn

LENGTH, WORDS, DIM, STEPS, GUIDANCE = 7, 600, 16, 4, 3.0
START, END = WORDS - 2, WORDS - 1
IDS = np.array([[START, END, 0, 0, 0, 0, 0], [START, 5, 77, 9, END, 0, 0]])  # the empty one first
MASK = np.arange(LENGTH) <= np.argmax(IDS, axis=1)[:, None]
CONFIG = {
    "text_encoder": {
        "model_type": "clip_text_model",
        "vocab_size": WORDS,
        "hidden_size": DIM,
        "intermediate_size": 4 * DIM,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": LENGTH,
        "projection_dim": DIM,
        "hidden_act": "quick_gelu",
        "bos_token_id": START,
        "eos_token_id": END,
    },
    "prior": {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_layers": 2,
        "embedding_dim": DIM,
        "num_embeddings": LENGTH,
    },
    "text_proj": {
        "clip_embeddings_dim": DIM,
        "time_embed_dim": 128,
        "cross_attention_dim": 24,
    },
    "decoder": {
        "sample_size": 8,
        "in_channels": 3,
        "out_channels": 6,
        "layers_per_block": 1,
        "block_out_channels": [32, 64],
        "norm_num_groups": 16,
        "down_block_types": ["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"],
        "up_block_types": ["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "cross_attention_dim": 24,
        "class_embed_type": "identity",
        "attention_head_dim": 16,
        "resnet_time_scale_shift": "scale_shift",
    },
    "super_res_first": {
        "sample_size": 16,
        "in_channels": 6,
        "out_channels": 3,
        "layers_per_block": 1,
        "block_out_channels": [32, 64],
        "norm_num_groups": 16,
        "down_block_types": ["ResnetDownsampleBlock2D"] * 2,
        "up_block_types": ["ResnetUpsampleBlock2D"] * 2,
        "add_attention": False,
    },
    "prior_scheduler": {"clip_sample_range": 5.0},
}
CONFIG["super_res_last"] = CONFIG["super_res_first"]
LAST = "conv_out.weight", "proj_to_clip_embeddings.weight"
SHAPES = {"prior": (1, DIM), "decoder": (1, 3, 8, 8), "super_res": (1, 3, 16, 16)}
COUNTS = {"prior": STEPS, "decoder": STEPS, "super_res": 7}


def start(stage: str) -> np.ndarray:
    return drawn.normal(f"unclip start {stage}", SHAPES[stage])


def noise(stage: str) -> np.ndarray:
    """Of each step, [K, 1, ...]."""
    return drawn.normal(f"unclip noise {stage}", (COUNTS[stage], *SHAPES[stage]))


def state(component: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights by their names; the last layers' are small, so that rounding does not grow along
    trajectories."""
    found = drawn.state(shapes, f"{component}.")
    return {key: x / 8 if key in LAST else x for key, x in found.items()}
