"""No condition at all."""

from dataclasses import dataclass
from typing import ClassVar

from ldm_jax.conditioning.condition import BuildContext, Condition
from ldm_jax.types import Cond, Conditioner
from ldm_jax.weights.names.condition import ConditionNames


@dataclass(frozen=True)
class Unconditional(Condition):
    """No condition."""

    kind: ClassVar = "no condition"
    square_only: ClassVar = False

    def build(self, context: BuildContext) -> Conditioner:
        return unconditional()

    def names(self, channels: int) -> ConditionNames:
        return ConditionNames()

    def takes(self, size: tuple[int, int]) -> str:
        return "nothing"


def unconditional() -> Conditioner:
    """The conditioner without inputs."""
    return Conditioner(
        init=lambda key: {},
        apply=lambda params, inputs: Cond(),
        null=lambda n, h=1, w=1: {},
        keys=(),
        dim=0,
    )
