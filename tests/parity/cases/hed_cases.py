"""Drawn weights of HED by their names in a file of Keras, and an image; for both sides."""

import numpy as np

from tests.parity.cases import drawn

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # of VGG16: channels, convolutions
SIDE = 64  # to which the image is extended by its edges
IMAGE = np.round(127.5 + 127.5 * np.tanh(drawn.normal("hed image", (40, 56, 3)))).astype(np.uint8)


def weights() -> dict[str, np.ndarray]:
    """Kernels [h, w, in, out] and biases."""
    shapes, width = {"fuse": (1, 1, 5, 1)}, 3
    for n, (channels, depth) in enumerate(STAGES, start=1):
        for m in range(depth):
            name = f"block{n}/layers/conv2d" + f"_{m}" * (m > 0)
            shapes[name], width = (3, 3, width, channels), channels
        shapes[f"dsn{n}"] = (1, 1, width, 1)
    found = {}
    for name, shape in shapes.items():
        size = np.sqrt(2 / np.float32(np.prod(shape[:-1]))) if shape[0] == 3 else 0.02
        found[f"{name}/vars/0"] = drawn.normal(f"hed.{name}", shape) * np.float32(size)
        found[f"{name}/vars/1"] = 0.1 * drawn.normal(f"hed.{name}.bias", shape[-1:])
    return found
