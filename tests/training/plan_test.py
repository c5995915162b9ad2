"""What a step would cost is said without making one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.state import apart, make_train_step, minimise, new_state
from ldm_jax.training import plan

ADAM = optax.adam(0.1)


def loss(params, batch, keys):
    """A product of [4, 5] and [5, 3]."""
    total = jnp.mean(batch["image"][:, 0, 0] @ params["net"]["w"])
    return total, {"loss": total}


def lines(kind):
    objective = minimise(loss, ("net",))
    params = {"net": {"w": jax.ShapeDtypeStruct((5, 3), jnp.float32)}}
    params["other"] = jax.ShapeDtypeStruct((7,), jnp.float32)
    state = jax.eval_shape(lambda params: new_state(params, ADAM, objective), params)
    spread = devices(kind)
    batch = {"image": np.zeros((4, 1, 1, 5), np.float32), "position": np.arange(4)}
    key = jax.eval_shape(lambda: jax.random.key(0))
    state, frozen = apart(state, objective.frozen(params))
    arguments = (spread.target(state), spread.target(frozen), spread.like(batch), key)
    lifted = spread.parallelize(make_train_step(objective, ADAM, 0.9), state)
    return "\n".join(plan.describe(lifted, arguments, 4))


def test_parameters_operations_and_bytes_are_counted():
    said = lines("jit")
    assert "22 parameters, 15 of them trained" in said
    # the way there and that back to w; an image needs no gradient
    assert f"{2 * 2 * 4 * 5 * 3 / 1e9:.4g} GFLOP a step" in said
    given = 4 * (15 + 15 + 2 * 15 + 1 + 1)  # w, average, two moments, two counts; other is not read
    given += 4 * 4 * 5  # images; positions and key are not read
    assert f"state {given / 2**20:.4g}" in said
    assert "collectives of a step: none" in said
    assert "the peak of 'cpu' is not known" in said


def test_with_pmap_memory_is_counted_and_operations_are_said_to_be_not():
    said = lines("pmap")
    assert "MiB (state" in said and "not counted with pmap" in said


def test_the_least_time_follows_from_a_peak_that_is_known(monkeypatch):
    monkeypatch.setattr(plan, "peak", lambda kind: 1e6)
    said = lines("jit")
    assert "a step takes 0.24 ms" in said and f"({4 / 240e-6:.4g} images/s)" in said


@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_nothing_is_allocated(kind):
    lines(kind)  # what JAX keeps once
    before = len(jax.live_arrays())
    lines(kind)
    assert len(jax.live_arrays()) == before
