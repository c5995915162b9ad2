"""The one update that every objective shares, on a loss that is known by heart."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ldm_jax.train_step.state import (
    apart,
    averaged_params,
    each_part,
    ema_decay,
    in_parts,
    joined,
    make_train_step,
    minimise,
    new_state,
)
from tests.support import tiny

LR, DECAY = 0.1, 0.5
KEY = jax.random.key(7)
BATCH = {"x": jnp.array([1.0, 2.0, 6.0]), "position": jnp.arange(3)}


def params():
    return {"a": {"w": jnp.array([2.0])}, "b": {"w": jnp.array([5.0])}, "c": jnp.array(3.0)}


def loss(params, batch, keys):
    """mean_i (a x_i + b)^2 / 2, c is not used."""
    total = jnp.mean(jnp.square(params["a"]["w"] * batch["x"] + params["b"]["w"])) / 2
    return total, {"loss": total}


def one(tree):
    return tree


def make(trained=("a", "b"), loss=loss, decay=DECAY):
    sgd = optax.sgd(LR)
    objective = minimise(loss, trained)
    return new_state(params(), sgd, objective), make_train_step(objective, sgd, decay)


def test_a_step_goes_down_the_gradient():
    state, step = make()
    new, metrics = step(state, {}, BATCH, KEY, one)
    residual = 2.0 * BATCH["x"] + 5.0
    slopes = [jnp.mean(residual * BATCH["x"]), jnp.mean(residual)]
    np.testing.assert_allclose(new.params["a"]["w"], 2.0 - LR * slopes[0], rtol=1e-6)
    np.testing.assert_allclose(new.params["b"]["w"], 5.0 - LR * slopes[1], rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], jnp.mean(residual**2) / 2, rtol=1e-6)
    np.testing.assert_allclose(metrics["gradient_norm"], np.hypot(*slopes), rtol=1e-6)
    assert new.step == 1
    assert new.step.dtype == jnp.int32


def test_untrained_parts_stay_bit_for_bit():
    state, step = make(trained=("a",))
    new = state
    for _ in range(3):
        new, _ = step(new, {}, BATCH, KEY, one)
    assert new.params["a"]["w"] != 2.0
    tiny.assert_same({k: new.params[k] for k in "bc"}, {k: params()[k] for k in "bc"})
    assert state.ema.keys() == new.ema.keys() == {"a"}
    assert averaged_params(new).keys() == {"a", "b", "c"}


def test_the_decay_warms_up():
    """min(decay, (1 + n) / (10 + n))."""
    n = jnp.arange(0, 100_000, 999)
    expected = np.minimum(0.9999, (1 + np.asarray(n)) / (10 + np.asarray(n)))
    np.testing.assert_allclose([ema_decay(0.9999, k) for k in n], expected, rtol=1e-6)
    assert ema_decay(0.9999, jnp.array(0)) == pytest.approx(0.1)
    assert ema_decay(0.9999, jnp.array(10**6)) == pytest.approx(0.9999)


def test_the_average_follows_the_weights():
    """m_n = d_n m_{n-1} + (1 - d_n) w_n from m_0 = w_0, with d_n after n updates."""
    state, step = make()
    mean = 2.0
    for n in range(1, 6):
        state, _ = step(state, {}, BATCH, KEY, one)
        d = min(DECAY, (1 + n) / (10 + n))
        mean = d * mean + (1 - d) * float(state.params["a"]["w"][0])
        np.testing.assert_allclose(averaged_params(state)["a"]["w"], [mean], rtol=1e-5)


def seen_by(step_number, positions):
    """The random number that each example of a batch sees."""

    def random_loss(params, batch, keys):
        return jnp.sum(params["a"]["w"]), {"drawn": jax.vmap(jax.random.uniform)(keys)}

    state, step = make(loss=random_loss)
    state = state.replace(step=jnp.array(step_number))
    return np.asarray(step(state, {}, {"position": positions}, KEY, one)[1]["drawn"])


def test_an_examples_randomness_follows_from_its_step_and_position():
    whole = seen_by(3, jnp.arange(8))
    np.testing.assert_array_equal(seen_by(3, jnp.arange(4, 8)), whole[4:])
    assert len({*whole, *seen_by(4, jnp.arange(8))}) == 16


def test_gradients_and_metrics_are_what_is_averaged():
    """Averaging over two equal halves of a batch gives the step over all of it."""
    halves = [{k: v[rows] for k, v in BATCH.items()} for rows in (jnp.array([0]), jnp.array([2]))]
    both = {k: v[jnp.array([0, 2])] for k, v in BATCH.items()}

    @jax.jit
    def shared(halves):
        state, step = make()
        return jax.vmap(
            lambda half: step(state, {}, half, KEY, lambda tree: jax.lax.pmean(tree, "halves")),
            axis_name="halves",
        )(halves)

    spread = shared(jax.tree.map(lambda *x: jnp.stack(x), *halves))
    state, step = make()
    whole = step(state, {}, both, KEY, one)
    for i in range(2):
        tiny.assert_close(jax.tree.map(lambda x, i=i: x[i], spread), whole, rtol=1e-6)


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_is_the_batch(parts):
    """One update by the mean of the parts' gradients is the update by the whole batch."""

    def noised(params, batch, keys):
        noise = jax.vmap(jax.random.normal)(keys)
        return loss(params, {"x": batch["x"] + noise}, keys)

    batch = {"x": jnp.arange(8.0), "position": jnp.arange(8)}
    found = []
    for count in (1, parts):
        objective = minimise(noised, ("a", "b"), count)
        sgd = optax.sgd(LR)
        state = new_state(params(), sgd, objective)
        found.append(make_train_step(objective, sgd, DECAY)(state, {}, batch, KEY, one))
    tiny.assert_close(*found, rtol=1e-5)


def test_entries_of_parts_come_back_in_the_order_of_the_batch():
    batch = {"x": jnp.arange(6.0)}
    means, entries = in_parts(lambda part: (jnp.mean(part["x"]), 2 * part["x"]), batch, 3)
    assert float(means) == 2.5
    assert entries.tolist() == [0, 2, 4, 6, 8, 10]
    squares = each_part(lambda part: part["x"] ** 2, batch, 3)
    assert squares.tolist() == [0, 1, 4, 9, 16, 25]


def test_frozen_parts_are_read_and_not_in_the_state():
    """A step with b apart is that with b among the state's params; the state does not hold it."""
    state, step = make(trained=("a",))
    objective = minimise(loss, ("a",))
    assert objective.frozen(state.params) == ("b", "c")
    changing, frozen = apart(state, objective.frozen(state.params))
    assert changing.params.keys() == {"a"}
    assert frozen.keys() == {"b", "c"}
    expected, expected_metrics = step(state, {}, BATCH, KEY, one)
    found, metrics = step(changing, frozen, BATCH, KEY, one)
    assert found.params.keys() == {"a"}
    tiny.assert_same(joined(found, frozen), expected)
    tiny.assert_same(metrics, expected_metrics)
