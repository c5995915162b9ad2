"""Averages by powers of time: what they weigh, and that any of them follows from a few."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ldm_jax import checkpoint, runs, training
from ldm_jax.errors import InputError
from ldm_jax.tools import ema
from ldm_jax.train_step import power_ema
from ldm_jax.train_step.state import make_train_step, minimise, new_state
from tests.support import tiny

SIGMAS = (0.05, 0.1)
STEPS = 400


@pytest.mark.parametrize(("sigma", "gamma"), [(0.05, 16.97), (0.1, 6.94), (0.15, 3.56)])
def test_widths_and_powers_are_those_of_the_paper(sigma, gamma):
    assert power_ema.gamma_of(sigma) == pytest.approx(gamma, abs=0.005)
    assert power_ema.sigma_of(power_ema.gamma_of(sigma)) == pytest.approx(sigma)


def test_the_width_is_the_standard_deviation_of_what_is_weighted():
    for sigma in (0.02, 0.1, 0.25):
        gamma = power_ema.gamma_of(sigma)
        tau = (np.arange(200_000) + 0.5) / 200_000
        weight = (gamma + 1) * tau**gamma / len(tau)
        mean = np.sum(weight * tau)
        assert np.sum(weight) == pytest.approx(1.0, rel=1e-4)
        assert np.sqrt(np.sum(weight * (tau - mean) ** 2)) == pytest.approx(sigma, rel=1e-3)


def profile(gamma, step, count=STEPS):
    """What the average at `step` weighs each step's weights with: the integral over the step."""
    edges = np.minimum(np.arange(count + 1), step) / step
    return np.diff(edges ** (gamma + 1))


def averages(gamma, weights):
    """The average at every step, by its recurrence."""
    average, found = weights[0], []
    for step, x in enumerate(weights, 1):
        b = float(power_ema.beta(gamma, jnp.array(step)))
        average = b * average + (1 - b) * x
        found.append(average)
    return found


def test_the_recurrence_weighs_by_the_profile():
    weights = np.random.default_rng(0).normal(size=STEPS)
    gamma = power_ema.gamma_of(0.1)
    found = averages(gamma, weights)
    for step in (1, 2, 37, STEPS):
        assert found[step - 1] == pytest.approx(profile(gamma, step) @ weights, rel=1e-4, abs=1e-5)


def test_products_of_profiles_are_their_integrals():
    tau = (np.arange(400_000) + 0.5) / 100_000  # 0 ... 4
    for ga, ta, gb, tb in [(3.5, 4.0, 7.0, 4.0), (3.5, 2.5, 7.0, 4.0), (17.0, 4.0, 7.0, 1.5)]:
        a = np.where(tau < ta, (ga + 1) * tau**ga / ta ** (ga + 1), 0.0)
        b = np.where(tau < tb, (gb + 1) * tau**gb / tb ** (gb + 1), 0.0)
        found = power_ema.profile_product(ga, ta, gb, tb)
        assert found == pytest.approx(np.sum(a * b) / 100_000, rel=1e-3)


def test_an_average_that_was_kept_is_itself():
    gammas = [power_ema.gamma_of(s) for s in SIGMAS]
    x = power_ema.solve([gammas[0], gammas[1]] * 2, [50, 50, 100, 100], gammas[1], 100)
    np.testing.assert_allclose(x, [0, 0, 0, 1], atol=1e-6)


@pytest.mark.parametrize("sigma", [0.06, 0.08, 0.12, 0.15])
def test_any_width_follows_from_two_that_were_kept(sigma):
    """On weights that move as in training: quickly at first, and with noise."""
    rng = np.random.default_rng(0)
    time = np.arange(1, STEPS + 1) / STEPS
    weights = np.stack([1 / (0.1 + time), np.sin(5 * time), rng.normal(size=STEPS).cumsum() / 20]).T
    saved = range(25, STEPS + 1, 25)
    kept = {s: averages(power_ema.gamma_of(s), weights) for s in SIGMAS}
    places = [(s, step) for step in saved for s in SIGMAS]
    gammas, steps = [power_ema.gamma_of(s) for s, _ in places], [step for _, step in places]
    gamma = power_ema.gamma_of(sigma)
    x = power_ema.solve(gammas, steps, gamma, STEPS)
    assert x.sum() == pytest.approx(1.0, abs=1e-2)
    found = power_ema.total([{"w": kept[s][step - 1]} for s, step in places], x)["w"]
    expected = profile(gamma, STEPS) @ weights
    np.testing.assert_allclose(found, expected, atol=0.01)
    nearest = min(np.abs(kept[s][-1] - expected).max() for s in SIGMAS)
    assert np.abs(found - expected).max() < 0.3 * nearest
    assert power_ema.unlikeness(gammas, steps, gamma, STEPS) < 0.05


def test_a_step_keeps_averages_beside_the_state_that_it_makes_anyway():
    def loss(params, batch, keys):
        error = jnp.square(params["net"]["w"] - 3.0)
        return error, {"loss": error}

    adam, objective = optax.adam(0.1), minimise(loss, ("net",))
    state = new_state({"net": {"w": jnp.zeros(())}, "other": jnp.ones(2)}, adam, objective)
    plain = make_train_step(objective, adam, 0.9)
    step, kept = power_ema.keeping(plain, SIGMAS), power_ema.with_averages(state, SIGMAS)
    batch = {"image": jnp.zeros((2, 1, 1, 1)), "position": jnp.arange(2)}
    rest = (tiny.keys(1)[0], lambda x: x, lambda x: x)
    seen = []
    for _ in range(20):
        state, _ = plain(state, {}, batch, *rest)
        kept, _ = step(kept, {}, batch, *rest)
        seen.append(float(kept.params["net"]["w"]))
    tiny.assert_same(kept.replace(power={}), state)
    for sigma in SIGMAS:
        expected = profile(power_ema.gamma_of(sigma), 20, 20) @ np.array(seen)
        found = kept.power[power_ema.name(sigma)]["net"]["w"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert power_ema.keeping(plain, ()) is plain


@pytest.fixture(scope="module")
def run(image_folder, tmp_path_factory):
    """A first stage with two averages, kept for good every other step, trained in two parts."""
    place = tmp_path_factory.mktemp("averages") / "run"
    tiny_one = tiny.experiment(image_folder)
    first = training.inherit(tiny_one.first_stage, tiny_one.data)
    first = replace(
        first,
        model=replace(first.model, channel_mults=(1,)),
        optim=replace(first.optim, power_ema=SIGMAS),
        train=replace(first.train, steps=3, snapshot_every=2),
    )
    training.train(first, place)
    training.train(replace(first, train=replace(first.train, steps=6)), place)
    return place


def test_averages_come_back_with_the_state_and_are_kept_for_good(run):
    assert checkpoint.snapshot_steps(run) == [2, 3, 4, 6]
    assert checkpoint.snapshot_names(run, 4) == ["0.050", "0.100"]
    early, late = (tiny.arrays(checkpoint.read_snapshot(run, step, "0.100")) for step in (4, 6))
    assert all(np.any(early[name] != late[name]) for name in early if "decoder" in name)


def test_a_width_that_was_kept_comes_out_as_it_was(run, tmp_path, capsys):
    ema.average(run, tmp_path / "out", ema.Options(sigma_rel=0.1, step=4))
    assert "its profile differs by 0.00%" in capsys.readouterr().out
    found = runs.with_weights(runs.find_first_stage(tmp_path / "out")).params
    kept = checkpoint.read_snapshot(run, 4, "0.100")
    for part in ("encoder", "decoder"):
        tiny.assert_close(found[part], kept[part], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma_rel": 0.3}, r"--sigma-rel is 0\.3: expected more than 0 and less than 0\.289"),
        ({"step": 1}, "--step is 1: expected 2 to 6, as was saved"),
        ({"step": 9}, "--step is 9: expected 2 to 6, as was saved"),
    ],
)
def test_what_was_not_kept_is_refused(run, trained_run, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        ema.average(run, tmp_path / "out", ema.Options(**options))
    with pytest.raises(InputError, match="has no snapshots: expected training with"):
        ema.average(trained_run, tmp_path / "out", ema.Options())
    assert not (tmp_path / "out").exists()
