"""Small adapters of images as diffusers describes them, and their inputs; for both sides.

Arrays are laid out as in PyTorch, [B, C, H, W]. Weights are drawn from names, with the component
before them; see `pipeline_cases.py`, whose Stable Diffusion they change.
"""

import numpy as np

from tests.parity.cases import drawn, pipeline_cases

CONTEXT = pipeline_cases.UNET["cross_attention_dim"]
SIDE, B = pipeline_cases.SIDE, pipeline_cases.B
SDXL = pipeline_cases.UNET | {  # where SDXL's adapters add: its levels
    "block_out_channels": [32, 32, 64],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
}
T2I = {  # name -> the UNet, and settings of diffusers' T2IAdapter
    "full": (pipeline_cases.UNET, {"channels": [32, 64], "num_res_blocks": 2}),
    "light": (pipeline_cases.UNET, {"channels": [32, 64], "num_res_blocks": 4, "in_channels": 1}),
    "xl": (SDXL, {"channels": [32, 32, 64, 64], "num_res_blocks": 2}),
}
KINDS = {"full": "full_adapter", "light": "light_adapter", "xl": "full_adapter_xl"}
FACTORS = {"full": 2, "light": 2, "xl": 4}  # pixels per place of the first feature
VISION = pipeline_cases.VISION
PLACES = 1 + (VISION["image_size"] // VISION["patch_size"]) ** 2
INTO = {"linear": VISION["projection_dim"], "full": VISION["hidden_size"]}
INTO["resampler"] = INTO["full"]
PLUS = {"tokens": 3, "width": 32, "depth": 4, "heads": 2}
SCALE = 0.6
X = drawn.normal("adapter latents", (B, 4, SIDE, SIDE))
T = np.array([7, 640])
TEXT = drawn.normal("adapter text", (B, 5, CONTEXT))
PHOTOS = drawn.normal("adapter photos", (B, 3, VISION["image_size"], VISION["image_size"]))
HINT = {name: drawn.normal(f"adapter hint {name}", (B, T2I[name][1].get("in_channels", 3),
        2 * SIDE, 2 * SIDE)) for name in T2I}  # fmt: skip


def prompts(projection: str, images: int) -> np.ndarray:
    """Outputs of an image encoder, [B, images, dim] or [B, images, places, channels]."""
    places = () if projection == "linear" else (PLACES,)
    return drawn.normal(f"adapter {projection} {images}", (B, images, *places, INTO[projection]))


IP = {  # name -> projection, images, scale
    "linear": ("linear", 1, 1.0),
    "linear less": ("linear", 1, SCALE),
    "linear of two": ("linear", 2, 1.0),
    "resampler": ("resampler", 1, SCALE),
    "full": ("full", 1, SCALE),
}


def unconditional() -> np.ndarray:
    """Hidden states that stand for no image in the pipeline, [1, 1, ...]."""
    return drawn.normal("no image", prompts("resampler", 1)[:1].shape)
