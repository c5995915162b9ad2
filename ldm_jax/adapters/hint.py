"""What adapters that follow an image have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from ldm_jax.adapters.settings import AdapterSettings
from ldm_jax.data.given import load_image
from ldm_jax.data.hints import HINTS, HintName
from ldm_jax.settings import AtLeast1
from ldm_jax.types import Batch, Derive


@dataclass(frozen=True)
class Hinted(AdapterSettings):
    """Settings of an adapter that follows a hint, an image that says where things are."""

    hint_channels: AtLeast1 = 3  # of a hint, whose values are 0 to 1
    hint: HintName = "canny"  # what training makes hints of
    entry: str = "hint"  # of a batch

    options: ClassVar = ("hint",)

    def named(self, name: str) -> Self:
        return replace(self, entry=f"{self.entry}.{name}")

    @property
    def fields(self) -> tuple[str, ...]:
        field = HINTS[self.hint].field
        return (field,) if field else ()

    def derive(self, factor: int) -> dict[str, Derive]:
        return {self.entry: lambda example, rng: self.of_channels(HINTS[self.hint].make(example))}

    def given(self, files: Mapping[str, Sequence[str]], size: tuple[int, int], data: Any) -> Batch:
        hints = [read_hint(file, size, data) for file in files["hint"]]
        return {self.entry: np.stack([self.of_channels(hint) for hint in hints])}

    def of_channels(self, hint: np.ndarray) -> np.ndarray:
        """A hint [H, W, 3] as the network reads it, [H, W, hint_channels]."""
        if self.hint_channels == 3:
            return hint
        return np.mean(hint, axis=-1, keepdims=True).repeat(self.hint_channels, axis=-1)


def read_hint(file: str, size: tuple[int, int], data: Any) -> np.ndarray:
    """The image of a file as a hint, float32 [H, W, 3], 0 to 1."""
    return np.float32(load_image(file, "--hint", data, size)) / 255.0
