"""Walks from noise to data that both sides take, with a fixed formula in place of a network."""

from typing import NamedTuple

import drawn

T, K, SHAPE = 1000, 10, (2, 3, 3, 2)

SCHEDULES = {  # name -> beta_1, beta_T
    "linear": (1e-4, 0.02),
    "scaled_linear": (0.00085, 0.012),
    "cosine": (None, None),
}


class Walk(NamedTuple):
    """One way from noise to data."""

    sampler: str  # ddim, ddpm
    schedule: str
    prediction: str  # eps, v
    grid: str
    eta: float = 0.0

    @property
    def name(self) -> str:
        """Of its array in the reference file."""
        eta = f" eta {self.eta:g}" if self.sampler == "ddim" else ""
        return f"{self.sampler}{eta} {self.schedule} {self.prediction} {self.grid}"


WALKS = [
    *(
        Walk("ddim", schedule, prediction, grid)
        for schedule in SCHEDULES
        for prediction in ("eps", "v")
        for grid in ("uniform", "leading", "trailing")
    ),
    *(Walk("ddim", schedule, "eps", "uniform", eta=1.0) for schedule in SCHEDULES),
    *(
        Walk("ddpm", schedule, prediction, "leading")
        for schedule in SCHEDULES
        for prediction in ("eps", "v")
    ),
]

START = drawn.normal("start", SHAPE)
NOISE = drawn.normal("noise", (K, *SHAPE))  # that step k adds


def raw_output(z, step, cos):
    """What the network answers: elementwise, and different at each step."""
    return 0.5 * z + 0.2 * cos(step / 100)
