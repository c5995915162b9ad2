"""For which family of models an adapter is made, by the width of the tokens that it attends to."""

from ldm_jax.adapters.settings import Base
from ldm_jax.errors import InputError
from ldm_jax.weights.names.family import family


def token_width(base: Base) -> int | None:
    """Width of the tokens to which a base attends; None: it attends to none."""
    widths = (one.token_width for one in base.experiment.conditions if one.token_width)
    return next(widths, None)


def check_family(kind: str, width: int, base: Base) -> None:
    """Raises InputError for an adapter, as messages call it, of tokens of another width."""
    own = token_width(base)
    if width != own:
        raise InputError(
            f"{kind} is for {family(width)}, with tokens {width} wide, and the base is "
            f"{family(own)}: expected one for tokens {own} wide"
        )
