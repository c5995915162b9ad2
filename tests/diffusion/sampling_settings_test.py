"""The sampler, times and options of a config's Sampling."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax.config import Sampling
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.churn import Churn
from ldm_jax.diffusion.samplers.loop import sample
from ldm_jax.diffusion.samplers.names import SAMPLERS, build_sampler
from ldm_jax.errors import InputError
from ldm_jax.types import Denoised
from tests.support.every import PROCESSES, T

LINEAR = PROCESSES["linear"]
HEUN = Sampling(sampler="heun", steps=20)


def flag(name):
    return f"--{name}"


@pytest.mark.parametrize("option", sampling.OPTIONS)
def test_an_option_goes_with_the_samplers_that_take_it_and_no_other(option):
    for name, kind in SAMPLERS.items():
        asked = replace(Sampling(sampler=name), **{option: 0.5})
        if option in kind.options:
            sampling.check_options(asked, flag)
            continue
        with pytest.raises(InputError) as refused:
            sampling.check_options(asked, flag)
        assert f"--{option} is 0.5, which {name} does not take" in str(refused.value)
        for taker in sampling.takers_of(option):
            assert taker in str(refused.value)


def test_without_options_a_sampler_is_given_its_own():
    assert sampling.arguments(Sampling()) == {"eta": 0.0}
    assert sampling.arguments(Sampling(sampler="dpmpp_2m_sde")) == {"eta": 1.0}
    assert sampling.arguments(Sampling(sampler="unipc")) == {}
    assert sampling.arguments(HEUN) == {"churn": Churn()}


def test_churn_is_shared_out_among_the_steps():
    asked = replace(HEUN, s_churn=5.0, s_tmin=0.1, s_tmax=9.0, s_noise=1.003)
    assert sampling.arguments(asked) == {"churn": Churn(0.25, 0.1, 9.0, 1.003)}
    by_hand = replace(asked, times=(900, 500, 100, 0))  # 0 is no step
    assert sampling.arguments(by_hand)["churn"].churn == 5.0 / 3


def test_times_replace_the_grid():
    assert sampling.times(replace(HEUN, times=(900, 12.5)), LINEAR).tolist() == [900, 12.5, 0]
    assert len(sampling.times(HEUN, LINEAR)) == 21
    assert sampling.padded_times(replace(HEUN, times=(900, 12.5)), LINEAR).shape == (T + 1,)


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_a_sampler_is_given_recompiles_nothing(name):
    """Whatever its options are, and however many steps."""
    make = build_sampler(name)
    given = SAMPLERS[name].options.keys() & {"eta", "s_churn"}
    keys = jax.random.split(jax.random.key(0), 2)

    @jax.jit
    def trajectory(grid, arguments):
        z = jnp.ones((2, 2, 2, 1))
        return sample(make(**arguments), lambda z, t: Denoised(z / 2), LINEAR, grid, z, keys)

    found = []
    for steps, value in ((5, 0.9), (3, 0.4), (3, None)):
        asked = Sampling(sampler=name, steps=steps, **dict.fromkeys(given, value))
        grid = sampling.padded_times(asked, LINEAR)[:12]
        found.append(trajectory(grid, sampling.arguments(asked)))
    assert trajectory._cache_size() == 1
    if given:
        assert np.abs(found[1] - found[2]).max() > 1e-3
