"""A small Stable Diffusion as diffusers describes it, and what it is asked; for both sides.

Arrays are laid out as in PyTorch, [B, C, H, W]. Weights are drawn from diffusers' names, with the
component before them. Images are encoded to the mean of their posterior on both sides.
"""

import numpy as np

from tests.parity.cases import drawn

B, SIDE, FACTOR, STEPS, GUIDANCE, STRENGTH = 2, 8, 2, 10, 3.0, 0.6
UNET = {
    "_class_name": "UNet2DConditionModel",
    "in_channels": 4,
    "out_channels": 4,
    "sample_size": SIDE,
    "block_out_channels": [32, 64],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": 24,
    "norm_num_groups": 8,
}
VAE = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [32, 64],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": SIDE * FACTOR,
    "scaling_factor": 0.18215,
}
TEXT = {
    "model_type": "clip_text_model",
    "hidden_size": 24,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 6,
    "vocab_size": 40,
    "hidden_act": "quick_gelu",
    "bos_token_id": 38,
    "eos_token_id": 39,
    "pad_token_id": 39,
}
VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 16,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 24,
    "patch_size": 4,
    "image_size": 8,
    "hidden_act": "quick_gelu",
}
SCHEDULER = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SAMPLERS = {  # here -> diffusers' scheduler and its settings, grid here
    "ddim": (
        "DDIMScheduler",
        {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1},
        "uniform",
    ),
    "plms": (
        "PNDMScheduler",
        {"skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1},
        "uniform",
    ),
    "euler": (
        "EulerDiscreteScheduler",
        {"timestep_spacing": "leading", "steps_offset": 1},
        "uniform to data",  # where diffusers' Euler ends
    ),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {"timestep_spacing": "trailing"}, "trailing"),
}
TASKS = (
    "text",
    "image",  # from one that is noised in part, as with depth
    "inpainting",
    "depth",
    "upscaling",
    "variation",
    "unclip",
)
# the last: from an image, along all steps, where diffusers' PNDM is itself, see `make_pipelines`
CASES = [(task, sampler) for task in TASKS for sampler in SAMPLERS] + [("noised image", "plms")]
STRENGTHS = {"image": STRENGTH, "depth": STRENGTH, "noised image": 1.0}
IDS = np.asarray([[38, 5, 9, 1, 39, 39], [38, 30, 39, 39, 39, 39]])
EMPTY = np.asarray([[38, 39, 39, 39, 39, 39]] * B)
NOISE = drawn.normal("pipeline noise", (B, 4, SIDE, SIDE))
IMAGE = np.tanh(drawn.normal("pipeline image", (B, 3, SIDE * FACTOR, SIDE * FACTOR)))
DEPTH = drawn.normal("pipeline depth", (B, 13, 13))
SMALL = np.tanh(drawn.normal("pipeline small image", (B, 3, SIDE, SIDE)))
SMALL_NOISE = drawn.normal("pipeline noise of the small image", SMALL.shape)
NOISE_LEVEL = 20
PHOTO = drawn.normal("pipeline picture", (B, 3, VISION["image_size"], VISION["image_size"]))
IMAGE_NOISE = drawn.normal("pipeline noise of the picture", (B, VISION["projection_dim"]))
IMAGE_LEVEL = 300
LOW_RES = {"beta_schedule": "scaled_linear", "beta_start": 1e-4, "beta_end": 0.02}
MASK = np.zeros((B, 1, SIDE * FACTOR, SIDE * FACTOR), np.float32)
MASK[0, :, 4:13, 3:9], MASK[1, :, :, 8:] = 1.0, 1.0


def unet(task: str) -> dict:
    """The config.json of the denoiser of a task."""
    settings = {"inpainting": {"in_channels": 9}, "depth": {"in_channels": 5}}
    settings["upscaling"] = {"in_channels": 7, "num_class_embeds": 1000}
    settings["unclip"] = {
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 2 * VISION["projection_dim"],
    }
    return UNET | settings.get(task, {})


def weights(component: str, shapes: dict) -> dict[str, np.ndarray]:
    """Drawn weights by key; the prefix that older files of the text encoder have does not count."""
    found = {
        key: drawn.weight(f"{component}.{key.removeprefix('text_model.')}", tuple(shape))
        for key, shape in shapes.items()
    }
    if component == "image_normalizer":
        found["std"] = 1 + 0.1 * drawn.normal(f"{component}.std", tuple(shapes["std"]))
    return found
