"""Placing arrays on however many devices there are; `train/eight_devices_test.py` has eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from ldm_jax.errors import InputError
from ldm_jax.sharding import check_batch, devices

BATCH = {"x": np.arange(6.0, dtype=np.float32).reshape(3, 2), "position": np.arange(3)}
every_kind = pytest.mark.parametrize("kind", ["jit", "pmap"])


def step(state, batch, key, average):
    """Adds the batch's mean and a random number to w."""
    mean = average(jnp.mean(batch["x"]))
    return {"w": state["w"] + mean + jax.random.normal(key)}, {"mean": mean}


@every_kind
def test_a_lifted_step_is_the_step(kind):
    spread, key = devices(kind), jax.random.key(0)
    expected = step({"w": jnp.ones(4)}, jax.tree.map(jnp.asarray, BATCH), key, lambda tree: tree)
    state = spread.replicate({"w": jnp.ones(4)})
    tiny.assert_close(spread.lift(step)(state, spread.split(BATCH), key), expected, rtol=1e-6)


@every_kind
def test_a_lifted_step_eats_its_state(kind):
    spread = devices(kind)
    state = spread.replicate({"w": jnp.ones(4)})
    spread.lift(step)(state, spread.split(BATCH), jax.random.key(0))
    assert state["w"].is_deleted()


@every_kind
def test_splitting_keeps_every_example_in_order(kind):
    found = devices(kind).split(BATCH)
    for name, rows in BATCH.items():
        np.testing.assert_array_equal(np.reshape(found[name], rows.shape), rows)


@every_kind
def test_a_target_is_where_replicating_puts_it(kind):
    spread, tree = devices(kind), {"a": jnp.ones((2, 3)), "b": jnp.arange(4)}
    target, placed = spread.target(tree), spread.replicate(tree)
    assert spread.count == jax.device_count()
    for name in tree:
        assert (target[name].shape, target[name].dtype) == (tree[name].shape, tree[name].dtype)
        assert target[name].sharding == placed[name].sharding
        assert placed[name].is_fully_replicated
    tiny.assert_same(placed, tree)


@pytest.mark.parametrize(("size", "such_as"), [(0, 8), (-8, 8), (4, 8), (13, 16), (20, 16)])
def test_a_batch_that_does_not_split_evenly_is_refused(monkeypatch, size, such_as):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    with pytest.raises(
        InputError, match=f"data.batch_size is {size}: .* of 8, .* such as {such_as}$"
    ):
        check_batch(size, "data.batch_size")
    check_batch(16, "data.batch_size")
