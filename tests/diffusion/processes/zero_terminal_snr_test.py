"""Zero terminal signal-to-noise ratio."""

import numpy as np
import pytest

from ldm_jax.diffusion.processes import betas
from ldm_jax.diffusion.processes.betas import zero_terminal_snr
from ldm_jax.diffusion.processes.ddpm import ddpm

T = 1000
TABLES = {
    "linear": betas.linear(T),
    "scaled_linear": betas.scaled_linear(T, 0.00085, 0.012),
    "cosine": betas.cosine(T),
}
every_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@every_table
def test_the_first_step_stays_and_the_last_leaves_nothing(table):
    before, after = ddpm(table), ddpm(zero_terminal_snr(table))
    np.testing.assert_allclose(after.alphas[1], before.alphas[1], rtol=1e-7)
    assert after.alphas[T] == 0.0
    assert after.sigmas[T] == 1.0
    assert after.log_snrs[T] == -np.inf


@every_table
def test_alpha_is_shifted_and_scaled(table):
    before, after = (
        np.sqrt(np.cumprod(1.0 - b, dtype=np.float64)) for b in (table, zero_terminal_snr(table))
    )
    line = np.polyfit(before, after, 1)
    np.testing.assert_allclose(np.polyval(line, before), after, atol=1e-12)
    assert line[0] > 1.0
