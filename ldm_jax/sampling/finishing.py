"""What is done with images that are drawn, where it is asked for: a safety check, a watermark."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, ClassVar

import jax
import numpy as np
import tyro
from PIL import Image

from ldm_jax.conditioning.clip_image import prepared
from ldm_jax.encoders.clip.concepts import unwanted
from ldm_jax.encoders.clip.vision import CLIPImageEncoder
from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section
from ldm_jax.weights.names import safety_checker

METHOD = "dwtDctSvd"  # of the package; its dwtDct cannot be read again from smooth images
SMALLEST = 256 * 256  # pixels that the package needs


@dataclass(frozen=True)
class Finishing(Section):
    """What is done with images that are drawn."""

    key: ClassVar[str] = "finishing"
    exportable: ClassVar[tuple[str, ...]] = ("safety_check", "watermark")

    safety_check: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """a safety checker of diffusers' layout; images of its concepts are made black"""
    watermark: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """hide this in each image, by the package invisible-watermark"""

    def check(self, request: Request, run: RunView) -> None:
        if self.safety_check and not Path(self.safety_check).is_dir():
            raise InputError(
                f"--safety-check '{self.safety_check}' does not exist: expected the folder "
                "safety_checker of a model of diffusers"
            )
        if self.watermark is None:
            return
        if not self.watermark or len(self.watermark.encode()) > 32:
            raise InputError(
                f"--watermark '{self.watermark}' has {len(self.watermark.encode())} bytes: "
                "expected 1 to 32"
            )
        height, width = run.size(request.size.size)
        if height * width < SMALLEST:
            raise InputError(
                f"--watermark needs images of {SMALLEST} pixels or more: expected a larger --size "
                f"than {height} {width}"
            )
        _package()

    def describe(self, request: Request, run: RunView) -> list[str]:
        check = [f"safety check by '{self.safety_check}'"] * bool(self.safety_check)
        mark = f"watermark '{self.watermark}' ({METHOD} of invisible-watermark)"
        return check + [mark] * bool(self.watermark)

    def apply(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """The images uint8 [num, H, W, 3], black where the check finds a concept, and marked."""
        if self.safety_check:
            found = look(safety_checker.load(self.safety_check), images, batch_size)
            images = np.where(found[:, None, None, None], np.uint8(0), images)
            named = ", ".join(map(str, np.flatnonzero(found)))
            print(
                f"safety check: {np.sum(found)} of {len(found)} images are black"
                + (f" ({named})" if named else "")
            )
        if self.watermark:
            images = np.stack([marked(image, self.watermark) for image in images])
        return images


def _package() -> ModuleType:
    try:
        return importlib.import_module("imwatermark")
    except ImportError as error:
        raise InputError(
            f"--watermark needs the package invisible-watermark, which cannot be imported "
            f"({error}): pip install invisible-watermark"
        ) from error


def look(checker: safety_checker.Checker, images: np.ndarray, batch_size: int) -> np.ndarray:
    """Which images uint8 [N, H, W, 3] are not wanted, bool [N]."""
    encoder = CLIPImageEncoder(checker.encoder)
    embed = jax.jit(lambda params, x: encoder.apply({"params": params}, x))
    x = np.stack([prepared(Image.fromarray(image), checker.encoder.size) for image in images])
    found = [
        np.asarray(embed(checker.params, x[start : start + batch_size]))
        for start in range(0, len(x), batch_size)
    ]
    return unwanted(checker.concepts, np.concatenate(found))


def marked(image: np.ndarray, text: str) -> np.ndarray:
    """The image uint8 [H, W, 3] with a text that cannot be seen in it."""
    encoder = _package().WatermarkEncoder()
    encoder.set_watermark("bytes", text.encode())
    blue_first = np.ascontiguousarray(image[..., ::-1])
    return np.ascontiguousarray(encoder.encode(blue_first, METHOD)[..., ::-1])
