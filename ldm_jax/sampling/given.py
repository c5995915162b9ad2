"""Files that a request names: latents and images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ldm_jax import runs
from ldm_jax.data import transforms
from ldm_jax.errors import InputError


def image_size(trained: runs.Trained, size: Sequence[int] = ()) -> tuple[int, int]:
    """Height and width of images: as asked, or those of training."""
    side = trained.experiment.data.image_size
    return tuple(size) or (side, side)


def latent_shape(trained: runs.Trained, num: int, size: Sequence[int] = ()) -> tuple[int, ...]:
    """Of the latents of so many images of `size`, or of training's."""
    stage = trained.model.first_stage
    height, width = (side // stage.factor for side in image_size(trained, size))
    return num, height, width, stage.channels


def load_latents(path: str, expected: tuple[int, ...], first: int = 0) -> np.ndarray:
    """The latents in a .npy, of shape `expected` = [num, h, w, c]; anything else: InputError.

    Args:
        first: of an image that is drawn again, which of a file that may have more.
    """
    if not Path(path).is_file():
        raise InputError(f"latents '{path}' do not exist: expected a .npy of shape {expected}")
    try:
        with open(path, "rb") as file:
            latents = np.lib.format.read_array(file, allow_pickle=False)
        if latents.dtype.kind not in "fiu":
            raise TypeError(f"numbers of type {latents.dtype}")
    except Exception as error:
        raise InputError(f"latents '{path}' are not a .npy of real numbers: {error}") from error
    latents = latents[first : first + expected[0]] if first else latents
    if latents.shape != expected:
        raise InputError(
            f"latents '{path}' have shape {latents.shape}: expected {expected} "
            f"for --num {expected[0]}"
        )
    return latents.astype(np.float32)


def load_image(path: str, flag: str, trained: runs.Trained, size: Sequence[int] = ()) -> np.ndarray:
    """The middle of an image, scaled to `size` (H, W) or as training saw it, uint8 [H, W, 3].

    Raises:
        InputError: no such file, or not an image.
    """
    data = trained.experiment.data
    if not Path(path).is_file():
        raise InputError(f"{flag} '{path}' does not exist: expected an image, such as a PNG")
    try:
        image = transforms.decode(path, data.background)
    except Exception as error:
        raise InputError(f"{flag} '{path}' is not an image: {error}") from error
    if size:
        fitted = ImageOps.fit(image, tuple(size)[::-1], Image.Resampling.LANCZOS)
        return np.asarray(fitted)
    resized = np.asarray(transforms.resize(image, data.image_size))
    return transforms.center_crop(resized, data.image_size)
