"""Whether a noising process can be, and a loss trains what a network answers."""

from ldm_jax import config as c
from ldm_jax.errors import InputError


def check_process(diffusion: c.Diffusion) -> None:
    """Raises InputError where the noising process cannot be, or a network cannot learn it."""
    flows, tables = ("flow", "cosine_flow"), ("linear", "scaled_linear", "cosine", "sqrt")
    if diffusion.zero_terminal_snr and diffusion.schedule not in tables:
        raise InputError(
            f"diffusion.zero_terminal_snr is True: expected False with the {diffusion.schedule} "
            f"schedule, since it rescales {', '.join(tables)}"
        )
    if diffusion.zero_terminal_snr and diffusion.steps < 2:
        raise InputError(
            f"diffusion.steps is {diffusion.steps}: expected at least 2 with "
            "diffusion.zero_terminal_snr, which keeps the first and empties the last"
        )
    if diffusion.prediction == "eps" and (
        diffusion.zero_terminal_snr or diffusion.schedule in flows
    ):
        raise InputError(
            "diffusion.prediction is eps: expected x0, v, velocity or edm, since the noise at T "
            "says nothing of the data where nothing is left of them"
        )
    if diffusion.schedule == "edm" and diffusion.sigma_min >= diffusion.sigma_max:
        raise InputError(
            f"diffusion.sigma_min is {diffusion.sigma_min}: expected less than "
            f"diffusion.sigma_max, which is {diffusion.sigma_max}"
        )


def check_loss(loss: c.DiffusionLoss, diffusion: c.Diffusion) -> None:
    """Raises InputError where a loss does not train what the network answers, or is asked in vain
    for what it has not."""
    if diffusion.learned_variance and loss.kind == "simple":
        raise InputError(
            "loss.kind is simple: expected hybrid or vlb with diffusion.learned_variance, since "
            "the simple loss does not see the variance"
        )
    if loss.kind == "hybrid" and not diffusion.learned_variance:
        raise InputError(
            "loss.kind is hybrid: expected simple or vlb without diffusion.learned_variance, since "
            "the bound in it trains the variance alone"
        )
    if loss.kind == "vlb":
        for name, none in (("distance", "l2"), ("weight", "none")):
            if getattr(loss, name) != none:
                raise InputError(
                    f"loss.{name} is {getattr(loss, name)}: expected {none} with a loss.kind of "
                    "vlb, which has neither distance nor weight"
                )
    if loss.levels and loss.kind == "simple":
        raise InputError(
            f"loss.levels is {loss.levels}: expected None with a loss.kind of simple, since only "
            "the bound asks for the probability of a level"
        )
    if loss.kind != "simple" and diffusion.steps < 2:
        raise InputError(
            f"diffusion.steps is {diffusion.steps}: expected at least 2 with a loss.kind of "
            f"{loss.kind}, whose first step has the variance of the second"
        )
