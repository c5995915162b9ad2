"""What is done with images that are drawn, where it is asked for: a safety check, a watermark."""

import importlib
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
from PIL import Image

from ldm_jax.encoders.clip.concepts import unwanted
from ldm_jax.encoders.clip.vision import VisionTower, normalised
from ldm_jax.errors import InputError
from ldm_jax.sampling.wanted import Request
from ldm_jax.weights.names import safety_checker

METHOD = "dwtDctSvd"  # of the package; its dwtDct cannot be read again from smooth images
SMALLEST = 256 * 256  # pixels that the package needs


def check_finishing(request: Request, size: tuple[int, int]) -> None:
    """Raises InputError for a checker or a package that is not there, and for what cannot be."""
    if request.safety_check and not Path(request.safety_check).is_dir():
        raise InputError(
            f"--safety-check '{request.safety_check}' does not exist: expected the folder "
            "safety_checker of a model of diffusers"
        )
    if request.watermark is None:
        return
    if not request.watermark or len(request.watermark.encode()) > 32:
        raise InputError(
            f"--watermark '{request.watermark}' has {len(request.watermark.encode())} bytes: "
            "expected 1 to 32"
        )
    if size[0] * size[1] < SMALLEST:
        raise InputError(
            f"--watermark needs images of {SMALLEST} pixels or more: expected a larger --size "
            f"than {size[0]} {size[1]}"
        )
    _package()


def _package() -> ModuleType:
    try:
        return importlib.import_module("imwatermark")
    except ImportError as error:
        raise InputError(
            f"--watermark needs the package invisible-watermark, which cannot be imported "
            f"({error}): pip install invisible-watermark"
        ) from error


def describe_finishing(request: Request) -> list[str]:
    """What will be done, for one line."""
    said = [f"safety check by '{request.safety_check}'"] * bool(request.safety_check)
    mark = f"watermark '{request.watermark}' ({METHOD} of invisible-watermark)"
    return said + [mark] * bool(request.watermark)


def finish(images: np.ndarray, request: Request) -> np.ndarray:
    """The images uint8 [num, H, W, 3], black where the check does not want them, and marked."""
    if request.safety_check:
        seen = look(safety_checker.load(request.safety_check), images, request.batch_size)
        images = np.where(seen[:, None, None, None], np.uint8(0), images)
        named = ", ".join(map(str, np.flatnonzero(seen)))
        print(
            f"safety check: {np.sum(seen)} of {len(seen)} images are black"
            + (f" ({named})" if named else "")
        )
    if request.watermark:
        images = np.stack([marked(image, request.watermark) for image in images])
    return images


def look(checker: safety_checker.Checker, images: np.ndarray, batch_size: int) -> np.ndarray:
    """Which images uint8 [N, H, W, 3] are not wanted, bool [N]."""
    tower = VisionTower(checker.tower)
    embed = jax.jit(lambda params, x: tower.apply({"params": params}, x))
    x = np.stack([prepared(image, checker.tower.size) for image in images])
    found = [
        np.asarray(embed(checker.params, x[start : start + batch_size]))
        for start in range(0, len(x), batch_size)
    ]
    return unwanted(checker.concepts, np.concatenate(found))


def prepared(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W, 3] -> float32 [size, size, 3] as CLIP was shown images: the shorter side
    resized by Pillow's bicubic filter, the middle of it, and normalised."""
    H, W = image.shape[:2]
    h, w = (size * side // min(H, W) for side in (H, W))
    small = np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling.BICUBIC))
    top, left = (h - size) // 2, (w - size) // 2
    middle = small[top : top + size, left : left + size]
    return normalised(np.float32(middle) / np.float32(255))


def marked(image: np.ndarray, text: str) -> np.ndarray:
    """The image uint8 [H, W, 3] with a text that cannot be seen in it."""
    encoder = _package().WatermarkEncoder()
    encoder.set_watermark("bytes", text.encode())
    blue_first = np.ascontiguousarray(image[..., ::-1])
    return np.ascontiguousarray(encoder.encode(blue_first, METHOD)[..., ::-1])
