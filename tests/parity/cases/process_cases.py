"""What both sides of processes.npz are made from."""

from tests.parity.cases import drawn

T, EDM_STEPS, SHIFTS = 1000, 18, (1.0, 3.0)
ZERO_SNR = {"linear": (1e-4, 0.02), "scaled_linear": (0.00085, 0.012)}
SHAPE = (3, 4, 4, 2)
TIMES = (2, 3, 100, 500, 999, 1000)
VARIANCE = drawn.normal("variance", SHAPE).clip(-1, 1)  # the network's output
COND, UNCOND = drawn.normal("told", SHAPE), drawn.normal("untold", SHAPE)
SCALE, FRACTION = 7.5, 0.7
WIDE = 3.0 * drawn.normal("wide", SHAPE)
