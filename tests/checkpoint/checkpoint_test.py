"""Checkpoints: what is saved comes back bit for bit, or is refused by name."""

import json
import resource
import shutil

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ldm_jax import checkpoint
from ldm_jax.errors import InputError, StoppedError
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.state import minimise, new_state
from tests.support import tiny

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


def damage(run, step, item="params"):
    """Empties the files of an item."""
    for file in (run / "checkpoints" / str(step) / item).rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    write(tmp_path, [3])
    damage(tmp_path, 3)
    state = make(3)
    with pytest.raises(InputError, match="checkpoints/3' cannot be read"):
        checkpoint.restore_weights(tmp_path, target(state.params))


@pytest.mark.parametrize(
    "harm", ["params", "ema", "optimizer", "data", "removed", "emptied", "no position"]
)
def test_of_a_damaged_checkpoint_the_one_before_is_used_and_both_are_named(tmp_path, capsys, harm):
    write(tmp_path, [3, 6])
    place = tmp_path / "checkpoints" / "6"
    if harm == "removed":
        shutil.rmtree(place / "params")
    elif harm == "emptied":
        shutil.rmtree(place)
        place.mkdir()
    elif harm == "no position":
        shutil.rmtree(tmp_path / "digests")  # as of runs of before
        (position,) = (place / "data").glob("process_*.json")
        position.write_text(json.dumps(dict.fromkeys(json.loads(position.read_text()), "far")))
    else:
        damage(tmp_path, 6, harm)
    data = stream()
    restored = checkpoint.restore(tmp_path, target(make(1)), data)
    tiny.assert_same(restored, make(3))
    assert next(data).tolist() == [5, 6, 7, 8, 9]
    said = capsys.readouterr().err
    assert said.count("warning: checkpoint") == 1
    assert "checkpoints/6' cannot be read" in said
    assert "the one before, 3, is used" in said
    checkpoint.set_aside(tmp_path, after=3)
    assert checkpoint.steps(tmp_path) == [3]
    assert (tmp_path / "damaged" / "6").is_dir()
    write(tmp_path, [6])
    assert checkpoint.steps(tmp_path) == [6, 3]


@pytest.mark.parametrize("item", ["params", "ema", "optimizer"])
def test_a_bit_that_was_changed_is_damage(tmp_path, capsys, item):
    """Orbax has no digest of arrays: it would give other numbers."""
    write(tmp_path, [3, 6])
    files = (tmp_path / "checkpoints" / "6" / item).rglob("ocdbt.process_*/d/*")
    file = max(files, key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    tiny.assert_same(checkpoint.restore(tmp_path, target(make(1)), stream()), make(3))
    assert "1 of its files are not as written" in capsys.readouterr().err


def test_damaged_metadata_of_a_checkpoint_are_refused_in_one_line(tmp_path):
    write(tmp_path, [3, 6])
    for file in (tmp_path / "checkpoints").glob("*/_CHECKPOINT_METADATA"):
        file.write_text('"words"')
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.restore(tmp_path, target(make(1)), stream())


def test_digests_go_with_their_checkpoints(tmp_path):
    write(tmp_path, [1, 2, 9, 10], keep=2)
    assert sorted(file.name for file in (tmp_path / "digests").iterdir()) == ["10.json", "9.json"]


@pytest.mark.parametrize(("metric", "best"), [("loss", 2), ("psnr", 3)])
def test_the_best_checkpoint_is_kept_beside_the_newest(tmp_path, metric, best):
    values = {1: 0.5, 2: 0.1, 3: 0.9, 4: 0.4, 5: 0.3}
    for some in ((1, 2, 3), (4, 5)):  # also after it was opened again
        with checkpoint.manager(tmp_path, 1, metric) as saves:
            for step in some:
                checkpoint.save(saves, make(step), stream(), {metric: values[step]})
    assert checkpoint.steps(tmp_path) == [5, best]


def test_what_cannot_be_saved_stops_with_a_line_that_names_the_last_that_could(tmp_path):
    write(tmp_path, [3])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(StoppedError) as stop, checkpoint.manager(tmp_path) as saves:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # as a disk that is full
            checkpoint.save(saves, make(6), stream())
            checkpoint.check_saved(saves, wait=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert stop.value.status == 1
    said = str(stop.value)
    assert "\n" not in said
    assert "cannot be saved" in said and "the newest that is whole is 3" in said
    assert checkpoint.steps(tmp_path) == [3]
    write(tmp_path, [6])
    assert sorted(f.name for f in (tmp_path / "checkpoints").iterdir()) == ["3", "6"]
