"""Checkpoints: what is saved comes back bit for bit, or is refused by name."""

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from ldm_jax import checkpoint
from ldm_jax.errors import InputError
from ldm_jax.sharding import devices
from ldm_jax.train.state import minimise, new_state

ADAM = optax.adam(0.1)


def stream():
    return iter(grain.MapDataset.range(100).batch(5).to_iter_dataset())


def make(step, width=3):
    """A state whose every number is different."""
    params = {"net": {"w": jnp.linspace(0.0, 1.0, width) * step}, "other": jnp.array(7.0)}
    state = new_state(params, ADAM, minimise(None, ("net",)))
    _, opt_state = ADAM.update({"net": {"w": params["net"]["w"] ** 2}}, state.opt_state)
    ema = jax.tree.map(lambda w: w + 0.5, state.ema)
    return state.replace(step=jnp.array(step, jnp.int32), ema=ema, opt_state=opt_state)


def write(run, steps, keep=2):
    data = stream()
    with checkpoint.manager(run, keep) as saves:
        for step in steps:
            next(data)
            checkpoint.save(saves, make(step), data)
    return data


def target(state):
    return devices("jit").target(state)


def test_what_is_saved_comes_back_bit_for_bit_with_the_place_in_the_data(tmp_path):
    data = write(tmp_path, [3, 6])
    restored_data = stream()
    restored = checkpoint.restore(tmp_path, target(make(1)), restored_data)
    tiny.assert_same(restored, make(6))
    assert jax.tree.structure(restored) == jax.tree.structure(make(6))
    for _ in range(3):
        np.testing.assert_array_equal(next(restored_data), next(data))


def test_weights_are_read_alone(tmp_path):
    write(tmp_path, [3, 6])
    state = make(6)
    weights = {**state.params, **state.ema}  # the averages, where they are kept
    tiny.assert_same(checkpoint.restore_weights(tmp_path, target(weights)), weights)
    for part in ("net", "other"):
        alone = {part: weights[part]}
        tiny.assert_same(checkpoint.restore_weights(tmp_path, target(alone)), alone)


def test_the_newest_checkpoints_are_kept(tmp_path):
    write(tmp_path, [1, 2, 9, 10], keep=2)
    folders = sorted(int(entry.name) for entry in (tmp_path / "checkpoints").iterdir())
    assert folders == [9, 10]
    assert checkpoint.latest_step(tmp_path) == 10  # as numbers: 9 < 10


def test_an_unfinished_checkpoint_is_none(tmp_path):
    assert checkpoint.latest_step(tmp_path) is None
    write(tmp_path, [3])
    (tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp").mkdir()
    assert checkpoint.latest_step(tmp_path) == 3


def test_opening_a_run_to_write_creates_nothing_until_it_writes(tmp_path):
    with checkpoint.manager(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


def test_another_architecture_is_refused_with_both_shapes(tmp_path):
    write(tmp_path, [3])
    message = r"checkpoint 3 of run .*: params net/w is \(3,\) there and \(4,\) here"
    with pytest.raises(InputError, match=message):
        checkpoint.restore(tmp_path, target(make(3, width=4)), stream())
    state = make(3)
    more = {"params": {**state.params, "new": jnp.ones(2)}}
    with pytest.raises(InputError, match=r"params new is absent there and \(2,\) here"):
        checkpoint.check_architecture(tmp_path, more)
    less = {"params": {"net": state.params["net"]}}
    with pytest.raises(InputError, match=r"params other is \(\) there and absent here"):
        checkpoint.check_architecture(tmp_path, less)
    checkpoint.check_architecture(tmp_path, {"params": state.params, "ema": state.ema})
    checkpoint.check_weights(tmp_path, {"other": state.params["other"]})
    with pytest.raises(InputError, match=r"ema net/w is \(3,\) there and \(4,\) here"):
        checkpoint.check_weights(tmp_path, {"net": {"w": jnp.ones(4)}})
    with pytest.raises(InputError, match=r"params new is absent there and \(2,\) here"):
        checkpoint.check_weights(tmp_path, {"new": jnp.ones(2)})


def test_a_run_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no checkpoint: train it first"):
        checkpoint.restore_weights(tmp_path, {})


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    write(tmp_path, [3])
    for file in (tmp_path / "checkpoints" / "3" / "params").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    state = make(3)
    with pytest.raises(InputError, match="checkpoints/3' cannot be read"):
        checkpoint.restore_weights(tmp_path, target(state.params))
