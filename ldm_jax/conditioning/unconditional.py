"""No condition at all."""

from ldm_jax.types import Cond, Conditioner


def unconditional() -> Conditioner:
    """The conditioner that says nothing."""
    return Conditioner(
        init=lambda key: {},
        apply=lambda params, inputs: Cond(),
        null=lambda n: {},
        keys=(),
        dim=0,
    )
