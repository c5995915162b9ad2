"""What training does not change is written once, and read with every checkpoint."""

import shutil

import grain
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
import pytest

from ldm_jax import checkpoint
from ldm_jax.errors import InputError
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.state import apart, minimise, new_state
from tests.support import tiny

SGD, FROZEN = optax.sgd(0.1), ("nothing", "other")


def stream():
    return iter(grain.MapDataset.range(100).batch(5).to_iter_dataset())


def make(step, size=3):
    """A state of which "net" trains, and "other" and "nothing" are frozen."""
    other = {"w": jnp.linspace(0.0, 1.0, size)}
    params = {"net": {"w": jnp.arange(3.0) * step}, "other": other, "nothing": {}}
    state = new_state(params, SGD, minimise(None, ("net",)))
    return state.replace(step=jnp.array(step, jnp.int32))


def write(run, steps, **options):
    """Checkpoints of the steps, beside frozen weights, as training writes them."""
    data = stream()
    with checkpoint.manager(run) as saves:
        for step in steps:
            state, frozen = apart(make(step, **options), FROZEN)
            if step == steps[0]:
                checkpoint.save_frozen(run, frozen)
            checkpoint.save(saves, state, data)


def target(tree):
    return devices("jit").target(tree)


def size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_a_checkpoint_and_the_frozen_weights_are_the_whole_state(tmp_path):
    write(tmp_path, [3, 6])
    tiny.assert_same(checkpoint.restore(tmp_path, target(make(1)), stream()), make(6))
    shapes = checkpoint.weight_shapes(tmp_path, 3)
    assert shapes["net"]["w"].shape == shapes["other"]["w"].shape == (3,)
    for item in ("other", "net"):
        found = checkpoint.read_part(tmp_path, "params", item, 3)
        tiny.assert_same(found, make(3).params[item])
    for parts in ({"other"}, {"nothing"}, {"net", "other", "nothing"}):
        wanted = {name: part for name, part in make(3).params.items() if name in parts}
        tiny.assert_same(checkpoint.restore_weights(tmp_path, target(wanted), which=3), wanted)
    checkpoint.check_architecture(tmp_path, checkpoint.parts(make(6)))
    with pytest.raises(InputError, match=r"params other/w is \(3,\) there and \(4,\) here"):
        checkpoint.restore(tmp_path, target(make(6, size=4)), stream())
    assert (tmp_path / "digests" / "frozen.json").exists()


def test_a_checkpoint_does_not_grow_with_what_is_frozen(tmp_path):
    for name, count in (("small", 3), ("large", 300_000)):
        write(tmp_path / name, [3, 6], size=count)
    small, large = (tmp_path / name for name in ("small", "large"))
    assert size(large / "frozen") > size(small / "frozen") + 100_000
    assert size(large / "checkpoints") < 1.1 * size(small / "checkpoints")


def test_nothing_is_written_where_nothing_is_frozen(tmp_path):
    checkpoint.save_frozen(tmp_path, {"nothing": {}})
    assert not list(tmp_path.iterdir())


def change_a_bit(run):
    files = (run / "frozen").rglob("d/*")
    file = max(files, key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def remove(run):
    shutil.rmtree(run / "frozen")


def empty(run):
    for file in (run / "frozen").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def exchange(run):
    """For those of another run."""
    other = run.parent / "other"
    write(other, [3])
    shutil.rmtree(run / "frozen")
    shutil.copytree(other / "frozen", run / "frozen")


def exchange_with_digests(run):
    exchange(run)
    shutil.copy(run.parent / "other" / "digests" / "frozen.json", run / "digests")


HARM = {
    change_a_bit: "1 of its files are not as written, such as frozen/",
    remove: "it is missing",
    empty: "cannot be read",
    exchange: "of its files are not as written, such as frozen/",
    exchange_with_digests: "checkpoint 6 was trained with others",
}


@pytest.mark.parametrize("harm", HARM)
def test_frozen_weights_that_are_damaged_or_of_others_are_named(tmp_path, capsys, harm):
    run = tmp_path / "run"
    write(run, [3, 6])
    harm(run)
    for read in (
        lambda: checkpoint.restore(run, target(make(1)), stream()),
        lambda: checkpoint.restore_weights(run, target(make(1).params)),
        lambda: checkpoint.read_part(run, "params", "other"),
    ):
        with pytest.raises(InputError) as error:
            read()
        assert f"'{run / 'frozen'}'" in str(error.value) and "\n" not in str(error.value)
        assert HARM[harm] in str(error.value)
    assert checkpoint.steps(run) == [6, 3]  # which are as good as before
    assert "warning" not in capsys.readouterr().err


def test_a_run_whose_checkpoints_hold_all_goes_on_with_less(tmp_path):
    """As they were written before."""
    data = stream()
    with checkpoint.manager(tmp_path) as saves:
        checkpoint.save(saves, make(3), data)
    state = checkpoint.restore(tmp_path, target(make(1)), stream())
    tiny.assert_same(state, make(3))
    _, frozen = apart(state, FROZEN)
    checkpoint.keep_frozen(tmp_path, frozen)
    with checkpoint.manager(tmp_path) as saves:
        checkpoint.save(saves, apart(make(6), FROZEN)[0], data)
    tiny.assert_same(checkpoint.restore(tmp_path, target(make(1)), stream()), make(6))
    for which in (3, 6):
        wanted = make(which).params
        tiny.assert_same(checkpoint.restore_weights(tmp_path, target(wanted), which=which), wanted)
    assert not (tmp_path / "checkpoints" / "6" / "params" / "other").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "frozen").rglob("*")}
    checkpoint.keep_frozen(tmp_path, frozen)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "frozen").rglob("*")}
    with pytest.raises(InputError, match=r"frozen' has no more: expected all frozen parts"):
        checkpoint.keep_frozen(tmp_path, {**frozen, "more": jnp.ones(2)})


def test_what_a_killed_start_left_is_replaced(tmp_path):
    _, first = apart(make(0), FROZEN)
    checkpoint.save_frozen(tmp_path, first)
    unfinished = tmp_path / "frozen.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "frozen", unfinished)  # killed while it wrote once more
    write(tmp_path, [3], size=5)
    tiny.assert_same(
        checkpoint.restore(tmp_path, target(make(1, size=5)), stream()), make(3, size=5)
    )
    assert not unfinished.exists()


@pytest.mark.parametrize("left", [("net/a",), ("net/a", "net/b"), ()])
def test_arrays_of_a_trained_part_that_do_not_change_are_not_in_a_checkpoint(tmp_path, left):
    """As optim.train_only leaves them; () is how an older run holds them, in each checkpoint."""
    params = {"net": {"a": jnp.ones(2), "b": jnp.zeros(3)}, "more": {"c": jnp.ones(1)}}
    state = new_state(params, SGD, minimise(None, ("net", "more")))
    frozen = {"net": {name[4:]: params["net"][name[4:]] for name in left}}
    checkpoint.save_frozen(tmp_path, frozen)
    with checkpoint.manager(tmp_path, frozen=checkpoint.frozen_names(tmp_path)) as saves:
        checkpoint.save(saves, state, stream())
    with ocp.StandardCheckpointer() as reader:
        for item in ("params", "ema"):
            there = reader.metadata(tmp_path / "checkpoints" / "0" / item).item_metadata.tree
            names = {f"{part}/{name}" for part, tree in there.items() for name in tree}
            assert names == {"net/a", "net/b", "more/c"} - set(left)
    tiny.assert_same(checkpoint.restore(tmp_path, target(state), stream()), state)
    checkpoint.check_architecture(tmp_path, checkpoint.parts(state))
    tiny.assert_same(checkpoint.restore_weights(tmp_path, target(params)), params)
    tiny.assert_same(checkpoint.read_part(tmp_path, "params", "net"), params["net"])
    tiny.assert_same(tiny.saved(tmp_path, 0)["params"], params)
    assert checkpoint.weight_shapes(tmp_path)["net"].keys() == {"a", "b"}
