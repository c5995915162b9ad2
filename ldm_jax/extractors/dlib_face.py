"""dlib's face network: 128 numbers, near each other for one person (King, dlib_face_recognition).

As face-api has it (npm @vladmandic/face-api, FaceRecognitionNet): a ResNet of 29 layers in which a
norm is a scale and a bias. Params are named as in its file.
"""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from ldm_jax.types import Array, Params

SIZE, DIM = 150, 128  # pixels a side; of an embedding
MEAN = (122.782, 117.001, 104.298)
BLOCKS = ("32_1", "32_2", "32_3", "64_down", "64_1", "64_2", "64_3", "128_down", "128_1", "128_2")
BLOCKS += ("256_down", "256_1", "256_2", "256_down_out")


@jax.jit
def embedded(params: Params, images: Array) -> Array:
    """Images [B, 150, 150, 3] of 0 to 255 -> [B, 128]."""
    x = (images - jnp.asarray(MEAN)) / 255.0
    x = jax.nn.relu(_convolved(params["conv32_down"], x, 2))
    x = _pooled(x, 3, jax.lax.max, -jnp.inf)
    for name in BLOCKS:
        x = _block(params[f"conv{name}"], x, "down" in name)
    return jnp.mean(x, axis=(1, 2)) @ params["fc"]


def _block(params: Params, x: Array, halves: bool) -> Array:
    """Two convolutions beside the input, whose mean of 2 x 2 is kept where the block halves it."""
    y = jax.nn.relu(_convolved(params["conv1"], x, 1 + halves))
    y = _convolved(params["conv2"], y)
    if halves:
        x = _pooled(x, 2, jax.lax.add, 0.0) / 4.0
    sizes = [max(a, b) for a, b in zip(x.shape, y.shape, strict=True)]
    return jax.nn.relu(_extended(x, sizes) + _extended(y, sizes))


def _convolved(params: Params, x: Array, stride: int = 1) -> Array:
    """A convolution and its norm; with a stride there is no padding."""
    kernel, form = params["conv"]["filters"], ("NHWC", "HWIO", "NHWC")
    padding = "SAME" if stride == 1 else "VALID"
    x = jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=form)
    scale = params["scale"]
    return (x + params["conv"]["bias"]) * scale["weights"] + scale["biases"]


def _pooled(x: Array, size: int, join, start: float) -> Array:
    window, strides = (1, size, size, 1), (1, 2, 2, 1)
    return jax.lax.reduce_window(x, start, join, window, strides, "VALID")


def _extended(x: Array, sizes: list[int]) -> Array:
    """Zeros behind, in each axis."""
    return jnp.pad(x, [(0, size - n) for size, n in zip(sizes, x.shape, strict=True)])


def aligned(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The square about a face, uint8 [150, 150, 3], as face-api cuts it.

    Args:
        image: uint8 [H, W, 3].
        points: [5, 2], x and y in parts of the image, of eyes, nose and corners of the mouth.
    """
    height, width = image.shape[:2]
    left, right, _, *mouth = points * (width, height)
    centers = np.stack([left, right, np.mean(mouth, axis=0)])
    side = np.mean(np.linalg.norm(centers[:2] - centers[2], axis=1)) / 0.45
    x, y = np.mean(centers, axis=0) - side * np.array([0.5, 0.43])
    box = (x, y, x + side, y + side)
    cut = Image.fromarray(image).transform(
        (SIZE, SIZE), Image.Transform.EXTENT, box, Image.BILINEAR
    )
    return np.asarray(cut)
