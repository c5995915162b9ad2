"""Settings of the loss of a denoiser."""

from dataclasses import dataclass
from typing import Literal

from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast2, Finite, NotNegative, Positive


@dataclass(frozen=True)
class DiffusionLoss:
    """What the denoiser is trained for, and at which times."""

    # simple: distance to the target; vlb: variational bound; hybrid: both
    kind: Literal["simple", "vlb", "hybrid"] = "simple"
    distance: Literal["l2", "l1", "huber"] = "l2"  # of the simple loss, as the weights
    huber_delta: Positive = 1.0  # of huber: where squares turn to absolute values
    weight: Literal["none", "min_snr", "p2"] = "none"  # of each time in the loss
    min_snr_gamma: Positive = 5.0  # largest signal-to-noise ratio of min_snr
    p2_k: Positive = 1.0  # of p2: weight 1 / (k + SNR)^gamma
    p2_gamma: NotNegative = 1.0  # of p2: the exponent
    vlb_weight: NotNegative = 0.001  # of the bound in the hybrid
    # of a pixel, in the bound's first term; None: data are continuous
    levels: AtLeast2 | None = None
    # how the times of training are drawn
    times: Literal["uniform", "cubic", "loss_aware", "log_normal", "logit_normal"] = "uniform"
    times_mean: Finite = 0.0  # of the normal, as the next (EDM: log_normal, -1.2, 1.2)
    times_std: Positive = 1.0  # of the same normal
    learned_weight: bool = False  # learn a log-variance of the loss at every time
    offset_noise: NotNegative = 0.0  # standard deviation of further noise, one number a channel
    input_perturbation: NotNegative = 0.0  # standard deviation of further noise, not in the target

    def check(self, prefix: str) -> None:
        """Raises InputError for a setting that this kind of loss has no use for."""
        if self.kind == "vlb":
            for name, none in (("distance", "l2"), ("weight", "none")):
                if getattr(self, name) != none:
                    raise InputError(
                        f"{prefix}{name} is {getattr(self, name)}: expected {none} with a "
                        f"{prefix}kind of vlb, which has neither distance nor weight"
                    )
        if self.levels and self.kind == "simple":
            raise InputError(
                f"{prefix}levels is {self.levels}: expected None with a {prefix}kind of simple, "
                "since only the bound asks for the probability of a level"
            )
