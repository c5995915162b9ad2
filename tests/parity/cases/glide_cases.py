"""GLIDE in small: its networks, settings and inputs, of which the original's outputs are stored."""

from collections.abc import Mapping

import numpy as np

from ldm_jax import config as c
from ldm_jax.encoders.clip.noised import NoisedCLIPModel
from tests.parity.cases import drawn

LENGTH, TOKENS, STEPS = 6, 50_257, 10
PADDING = 50_256
UNET = c.UNet(
    channels=32,
    channel_mults=(1, 2),
    num_res_blocks=1,
    attention_factors=(2,),
    head_channels=32,
    scale_shift=True,
    resample_blocks=True,
    joint_attention=True,
)
TEXT = c.GLIDEText(
    dim=32, layers=2, num_heads=2, head_dim=16, length=LENGTH, vocab_size=TOKENS, vector_dim=128
)
CLIP = NoisedCLIPModel(
    dim=24,
    size=16,
    patch=8,
    vision_channels=32,
    vision_layers=2,
    vision_heads=2,
    text_channels=32,
    text_layers=2,
    text_heads=2,
    length=LENGTH,
    vocab_size=65_536,
)
# conditional and unconditional
IDS = np.array([[272, 3056, 12036, PADDING, PADDING, PADDING], [PADDING] * LENGTH])
CLIP_IDS = np.array([[49406, 550, 2870, 49407, 0, 0]])
CLIP_LENGTH = 4
GUIDANCE, CLIP_SCALE, NOISE_SCALE = 3.0, 0.3, 0.997
KINDS = ("base", "inpaint", "upsample", "upsample_inpaint")
CHANNELS = {"base": 3, "inpaint": 7, "upsample": 6, "upsample_inpaint": 10}


def quantised(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers that are multiples of 1 / 64."""
    return np.round(64 * drawn.normal(name, shape)) / np.float32(64)


X = {16: quantised("glide x", (1, 3, 16, 16)), 32: quantised("glide x large", (1, 3, 32, 32))}
NOISE = quantised("glide noise", (STEPS, 1, 3, 16, 16))
IMAGE = {n: np.tanh(drawn.normal(f"glide image {n}", (1, 3, n, n))) for n in (16, 32)}
LOW = np.tanh(drawn.normal("glide low", (1, 3, 8, 8)))
MASK = {n: np.ones((1, 1, n, n), np.float32) for n in (16, 32)}  # 1 where the image is known
for side, mask in MASK.items():
    mask[:, :, side // 4 : side // 2, side // 3 :] = 0.0
T = np.array([777])


def state(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> dict[str, np.ndarray]:
    """Weights by their names; the last layer's are small, so that rounding does not grow along
    trajectories."""
    found = drawn.state(shapes, prefix)
    return {key: x / 8 if key == "out.2.weight" else x for key, x in found.items()}
