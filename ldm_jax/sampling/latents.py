"""Noise of a file to start from."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import tyro

from ldm_jax.errors import InputError, reading
from ldm_jax.sections import Request, RunView, Section


@dataclass(frozen=True)
class Latents(Section):
    """The noise that images start from."""

    key: ClassVar[str] = "latents"

    latents: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """a .npy of standard normal noise [N, h, w, c], in place of that of the seeds"""

    def check(self, request: Request, run: RunView) -> None:
        self.noise(request, run)

    def noise(self, request: Request, run: RunView) -> np.ndarray | None:
        if not self.latents:
            return None
        size = request.size.size if "size" in request else ()
        shape = request.images.num, *run.latent_shape(size)
        return load_latents(self.latents, shape, request.images.turn)


def load_latents(path: str, expected: tuple[int, ...], first: int = 0) -> np.ndarray:
    """The latents in a .npy, float32 of shape `expected` = [num, h, w, c]; or InputError.

    Args:
        first: of an image that is drawn again, which of a file that may have more.
    """
    named = f"latents '{path}'"
    with reading(named, f"a .npy of real numbers of shape {expected}"), open(path, "rb") as file:
        found = np.lib.format.read_array(file, allow_pickle=False)
        if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
            raise TypeError(f"numbers of type {found.dtype}, or not finite")
    found = found[first : first + expected[0]] if first else found
    if found.shape != expected:
        raise InputError(
            f"{named} have shape {found.shape}: expected {expected} for --num {expected[0]}"
        )
    return found.astype(np.float32)
