"""Noise of a file to start from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import tyro

from ldm_jax.errors import InputError
from ldm_jax.sections import Request, RunView, Section


@dataclass(frozen=True)
class Latents(Section):
    """The noise that images start from."""

    key: ClassVar[str] = "latents"

    latents: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """a .npy of standard normal noise [N, h, w, c], in place of that of the seeds"""

    @property
    def noise_option(self) -> str:
        return "--latents" if self.latents else ""

    def check(self, request: Request, run: RunView) -> None:
        self.noise(request, run)

    def noise(self, request: Request, run: RunView) -> np.ndarray | None:
        if not self.latents:
            return None
        size = request.size.size if "size" in request else ()
        shape = request.images.num, *run.latent_shape(size)
        return load_latents(self.latents, shape, request.images.turn)


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
