"""Trajectories that both sides compute, with a fixed formula instead of a network."""

from typing import NamedTuple

from tests.parity.cases import drawn

T, K, SHAPE = 1000, 10, (2, 2, 2, 2)

SCHEDULES = {  # name -> beta_1, beta_T
    "linear": (1e-4, 0.02),
    "scaled_linear": (0.00085, 0.012),
    "cosine": (None, None),
    "zero_terminal_snr": (0.00085, 0.012),  # scaled linear, rescaled
}
FLOW = "flow"  # has no betas
BETWEEN = ("karras", "exponential")  # grids with times between steps
GRIDS = ("uniform", "leading", "trailing", "linspace", *BETWEEN)
# by hand, counted from 0 as for the network: a quarter of LCM's fifty times, and nine
# times of a flow that begins just short of pure noise
LCM_STEPS = (999, 759, 499, 259)
FLOW_TIMES = tuple(range(999, 0, -111))


class Case(NamedTuple):
    """One way from noise to data, or back.

    The grid is one of GRIDS, `lcm` or `flow` (the times above), `pairs` (every other time of the
    exponential grid of 11 steps, of which singlestep solvers make the others up), or, upwards,
    `from data`, which is `leading` turned round.
    """

    sampler: str
    schedule: str
    prediction: str  # eps, v, velocity
    grid: str
    eta: float | None = None
    source: str = "diffusers"  # or "original", the code of CompVis

    @property
    def name(self) -> str:
        """Of its array in the reference file."""
        eta = "" if self.eta is None else f" eta {self.eta:g}"
        source = "" if self.source == "diffusers" else f"{self.source} "
        return f"{source}{self.sampler}{eta} {self.schedule} {self.prediction} {self.grid}"


TABLES = ("linear", "scaled_linear", "cosine")
CASES = [
    *(
        Case("ddim", schedule, prediction, grid, 0.0)
        for schedule in TABLES
        for prediction in ("eps", "v")
        for grid in ("uniform", "leading", "trailing")
    ),
    *(Case("ddim", schedule, "eps", "uniform", 1.0) for schedule in TABLES),
    Case("ddim", "zero_terminal_snr", "v", "trailing", 0.0),
    Case("ddim", "zero_terminal_snr", "v", "trailing", 1.0),
    *(
        Case("ddpm", schedule, prediction, "leading")
        for schedule in TABLES
        for prediction in ("eps", "v")
    ),
    *(Case("ddim", "scaled_linear", "eps", "uniform", eta, "original") for eta in (0.0, 1.0)),
    *(Case("plms", schedule, "eps", "uniform", None, "original") for schedule in TABLES[1:]),
    *(Case("plms", "scaled_linear", "eps", grid) for grid in ("uniform", "leading")),
    *(Case("ddim_inversion", schedule, "eps", "from data") for schedule in TABLES[:2]),
    *(
        Case(sampler, schedule, prediction, grid)
        for sampler in ("euler", "heun", "lms", "dpmpp_2m", "unipc")
        for schedule, prediction, grid in (
            ("scaled_linear", "eps", "trailing"),
            ("linear", "v", "karras"),
        )
    ),
    Case("euler", "scaled_linear", "eps", "leading"),
    Case("euler", "scaled_linear", "v", "linspace"),
    Case("euler", "linear", "eps", "exponential"),
    *(Case("euler_ancestral", "scaled_linear", kind, "trailing") for kind in ("eps", "v")),
    *(Case("dpmpp_3m", "scaled_linear", kind, "trailing") for kind in ("eps", "v")),
    *(Case("dpmpp_2m_sde", "scaled_linear", kind, "trailing") for kind in ("eps", "v")),
    *(Case("dpmpp_2s", "scaled_linear", kind, "pairs") for kind in ("eps", "v")),
    *(Case("lcm", "scaled_linear", kind, "lcm") for kind in ("eps", "v")),
    Case("euler", FLOW, "velocity", "linspace"),
    Case("dpmpp_2m", FLOW, "velocity", "flow"),
    Case("unipc", FLOW, "velocity", "flow"),
]

START = drawn.normal("start", SHAPE)
NOISE = drawn.normal("noise", (K, *SHAPE))  # that step k adds


def raw_output(z, step, cos):
    """The network's output: elementwise, and different at each step."""
    return 0.5 * z + 0.2 * cos(step / 100)
