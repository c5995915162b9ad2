"""Prompts of which each image shows all (Liu et al. 2022)."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from ldm_jax.conditioning.prompts import encoded, no_captions
from ldm_jax.errors import InputError
from ldm_jax.sampling.guidance import CHANGES
from ldm_jax.sections import Numbers, Request, RunView, Section, Texts
from ldm_jax.types import Batch


@dataclass(frozen=True)
class Composition(Section):
    """Prompts of which each image shows all (Liu et al. 2022)."""

    key: ClassVar[str] = "composition"
    settles: ClassVar = {"compose": ("compose_weights",)}
    needs: ClassVar = {"compose_weights": "compose"}
    excludes: ClassVar = {"compose": ("prompt", "negative_prompt", *CHANGES)}

    compose: Texts = ()
    """prompts, all of which each image shows"""
    compose_weights: Numbers = ()
    """of each of them, times the guidance; 1 where not given, negative to avoid it"""

    @classmethod
    def fits(cls, run: RunView) -> bool:
        return bool(run.tokenizers)

    @classmethod
    def refusal(cls, option: str, value: Any, run: RunView) -> str:
        return no_captions(option, value, run)

    def fill(self, request: Request, run: RunView) -> Self:
        return replace(self, compose_weights=self.compose_weights or (1.0,) * len(self.compose))

    def check(self, request: Request, run: RunView) -> None:
        weights = self.compose_weights
        if len(weights) != len(self.compose) or not all(map(math.isfinite, weights)):
            given = " ".join(f"{weight:g}" for weight in weights)
            raise InputError(
                f"--compose-weights is {given}: expected {len(self.compose)} numbers, one for each "
                "prompt of --compose"
            )

    def inputs(self, request: Request, run: RunView) -> Batch:
        """Each [num, n, length] for n prompts."""
        if not self.compose:
            return {}
        each = [encoded(run, request, (prompt,)) for prompt in self.compose]
        return {name: np.stack([one[name] for one in each], axis=1) for name in each[0]}

    def controls(self, request: Request, run: RunView) -> dict[str, Any]:
        weights = np.asarray(self.compose_weights, np.float32)
        return {"weights": weights if self.compose else None}

    def describe(self, request: Request, run: RunView) -> list[str]:
        pairs = zip(self.compose, self.compose_weights, strict=True)
        listed = ", ".join(f"'{text}' times {weight:g}" for text, weight in pairs)
        return [f"composed of {listed}"] * bool(self.compose)
