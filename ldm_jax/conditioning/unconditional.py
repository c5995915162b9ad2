"""No condition at all."""

from ldm_jax.types import Cond, Conditioner


def unconditional() -> Conditioner:
    """The conditioner that says nothing."""
    return Conditioner(
        init=lambda key: {},
        apply=lambda params, inputs: Cond(),
        null=lambda n, h=1, w=1: {},
        keys=(),
        dim=0,
    )
