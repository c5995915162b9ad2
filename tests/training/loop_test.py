"""The loop that all training shares, with a step that costs nothing."""

import os
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ldm_jax import checkpoint
from ldm_jax.config import Optim, Train
from ldm_jax.errors import InputError, StoppedError
from ldm_jax.runtime.sharding import devices
from ldm_jax.train_step.state import Measurement, make_train_step, minimise, new_state
from ldm_jax.training import loop, record
from ldm_jax.training.log import Log
from ldm_jax.training.task import Task
from tests.support import tiny

KEY = jax.random.key(0)
CONFIG = Train(steps=6, save_every=2, log_every=1, sample_every=0, keep=10)
ADAM = optax.adam(0.1)


def stream():
    """Endless batches of four images of one pixel: 0 1 2 3, 4 5 6 7, ..."""
    dataset = grain.MapDataset.range(1000).map(
        lambda i: {"image": np.full((1, 1, 1), i / 100, np.float32)}
    )
    return iter(dataset.batch(4).to_iter_dataset())


def loss(params, batch, keys):
    """Distance of w to noised images."""
    noise = jax.vmap(jax.random.normal)(keys)
    error = jnp.mean(jnp.square(params["net"]["w"] - batch["image"][:, 0, 0, 0] - noise))
    return error, {"loss": error}


def fit(run, config=CONFIG, loss=loss, kind="jit", optimizer=ADAM, **hooks):
    objective = minimise(loss, ("net",))
    params = {"net": {"w": jnp.zeros(())}, "other": jnp.ones(3)}
    state = new_state(params, optimizer, objective)
    step = make_train_step(objective, optimizer, 0.9)
    nothing = dict.fromkeys(Task._fields[: len(Task._fields) - len(Task._field_defaults)])
    task = Task(**nothing)._replace(
        name="test",
        experiment=SimpleNamespace(train=config, optim=Optim()),
        objective=objective,
        **hooks,
    )
    return loop.fit(task, run, devices(kind), step, state, stream(), KEY)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of six steps without a pause."""
    run = tmp_path_factory.mktemp("whole")
    fit(run)
    return run


def steps(run):
    return sorted(int(entry.name) for entry in (run / "checkpoints").iterdir())


def test_training_saves_at_its_intervals_and_at_the_end(whole, tmp_path):
    assert steps(whole) == [2, 4, 6]
    fit(tmp_path, replace(CONFIG, steps=5, save_every=3, keep=1))
    assert steps(tmp_path) == [5]


@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_training_in_parts_is_training_at_once(whole, tmp_path, kind):
    """N steps, then the same command again for all: state and data bit for bit."""
    fit(tmp_path, replace(CONFIG, steps=3), kind=kind)
    fit(tmp_path, kind=kind)
    for step in (4, 6):
        tiny.assert_same(tiny.saved(tmp_path, step), tiny.saved(whole, step))
    assert tiny.rows(tmp_path) == tiny.rows(whole)


def test_rows_written_after_the_last_checkpoint_are_written_again(whole, tmp_path, monkeypatch):
    scalars = Log.scalars

    def write_then_die(self, step, values):
        scalars(self, step, values)
        if step == 5:
            with self.csv.open("a") as file:
                file.write("6,0.1")  # a row cut short
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Log, "scalars", write_then_die)
        fit(tmp_path)
    assert steps(tmp_path) == [2, 4]
    fit(tmp_path)
    assert [row["step"] for row in tiny.rows(tmp_path)] == list("123456")
    assert tiny.rows(tmp_path) == tiny.rows(whole)
    tiny.assert_same(tiny.saved(tmp_path, 6), tiny.saved(whole, 6))


def test_a_finished_run_is_left_alone(tmp_path, capsys):
    first = fit(tmp_path, replace(CONFIG, steps=2))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    second = fit(tmp_path, replace(CONFIG, steps=2))
    assert "trained already" in capsys.readouterr().out
    tiny.assert_same(first, second)
    assert files == {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("kind", ["jit", "pmap"])
def test_a_step_is_compiled_once(tmp_path, kind):
    traced = []

    def counted(params, batch, keys):
        traced.append(1)
        return loss(params, batch, keys)

    fit(tmp_path, loss=counted, kind=kind)
    assert len(traced) == 1


def test_a_row_is_the_average_since_the_one_before(whole, tmp_path):
    fit(tmp_path, replace(CONFIG, log_every=3, save_every=100))
    every = [float(row["loss"]) for row in tiny.rows(whole)]
    found = {row["step"]: float(row["loss"]) for row in tiny.rows(tmp_path)}
    assert found == pytest.approx({"3": np.mean(every[:3]), "6": np.mean(every[3:])}, rel=1e-5)


def test_images_show_the_state_at_their_intervals_and_at_the_end(tmp_path):
    seen = []

    def sample(state):
        seen.append(int(state.step))
        return np.zeros((4, 4, 3), np.uint8)

    fit(tmp_path, replace(CONFIG, steps=5, sample_every=2), sample=sample)
    assert seen == [2, 4, 5]
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["00000002.png", "00000004.png", "00000005.png"]


def test_an_image_that_the_end_came_before_is_drawn_when_it_goes_on(tmp_path):
    def blank(state):
        return np.zeros((4, 4, 3), np.uint8)

    def killed(state):
        if int(state.step) == 4:
            raise KeyboardInterrupt
        return blank(state)

    config = replace(CONFIG, sample_every=2)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, config, sample=killed)
    assert steps(tmp_path)[-1] == 4  # it is saved first
    fit(tmp_path, config, sample=blank)
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["00000002.png", "00000004.png", "00000006.png"]


def test_what_is_frozen_is_written_before_the_first_step_and_in_no_checkpoint(whole, tmp_path):
    def killed(params, batch, keys):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, loss=killed)
    assert (tmp_path / "frozen").is_dir() and not (tmp_path / "checkpoints").exists()
    fit(tmp_path)  # starts again
    tiny.assert_same(tiny.saved(tmp_path, 6), tiny.saved(whole, 6))
    assert tiny.saved(whole, 6)["params"].keys() == {"net", "other"}
    tiny.assert_same(fit(whole).params["other"], np.ones(3, np.float32))
    shutil.rmtree(tmp_path / "frozen")
    with pytest.raises(InputError, match=r"frozen', .* cannot be read .*it is missing"):
        fit(tmp_path, replace(CONFIG, steps=8))


def test_a_loss_that_is_not_finite_stops_training_before_it_is_saved(tmp_path):
    def explodes(params, batch, keys):
        total, metrics = loss(params, batch, keys)
        total = jnp.where(batch["image"][0, 0, 0, 0] >= 0.12, jnp.nan, total)  # the fourth batch
        return total, {**metrics, "loss": total}

    with pytest.raises(FloatingPointError, match=r"'loss' is nan at step 4: lower optim\.lr"):
        fit(tmp_path, loss=explodes)
    assert steps(tmp_path) == [2]
    assert checkpoint.latest_step(tmp_path) == 2


def test_the_terms_that_are_not_finite_are_named_and_not_their_sum():
    row = {"adversary_weight": 0.0, "kl": np.inf, "loss": np.nan, "psnr": np.nan, "step": 1.0}
    with pytest.raises(FloatingPointError, match="'kl' is inf, 'psnr' is nan at step 7: lower"):
        record.averages([row], 7)


def test_the_first_step_with_a_term_that_is_not_finite_is_named():
    good, bad, worse = {"kl": 1.0, "x": 1.0}, {"kl": 1.0, "x": np.nan}, {"kl": np.inf, "x": np.nan}
    with pytest.raises(FloatingPointError, match=r"^'x' is nan at step 6: lower"):
        record.averages([good, bad, worse], 7)


def test_a_state_that_is_not_finite_is_not_saved_though_the_loss_is(tmp_path):
    """The last step's loss is of the weights before it."""
    spoil = replace(CONFIG, steps=3, save_every=1)
    infinite = optax.chain(ADAM, optax.scale_by_schedule(lambda n: jnp.where(n < 2, 1.0, jnp.inf)))
    with pytest.raises(FloatingPointError, match=r"'net/w' is not finite after step 3: lower"):
        fit(tmp_path, spoil, optimizer=infinite)
    assert steps(tmp_path) == [1, 2]


def test_asked_to_end_it_saves_the_step_and_goes_on_from_it(whole, tmp_path, monkeypatch):
    scalars = Log.scalars

    def write_and_be_asked(self, step, values):
        scalars(self, step, values)
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    config = replace(CONFIG, save_every=6)
    with monkeypatch.context() as patch, pytest.raises(StoppedError) as stop:
        patch.setattr(Log, "scalars", write_and_be_asked)
        fit(tmp_path, config)
    assert stop.value.status == 143
    assert "step 3 is saved" in str(stop.value) and "\n" not in str(stop.value)
    assert signal.getsignal(signal.SIGTERM) == before
    assert steps(tmp_path) == [3]
    fit(tmp_path, config)
    tiny.assert_same(tiny.saved(tmp_path, 6), tiny.saved(whole, 6))
    assert tiny.rows(tmp_path) == tiny.rows(whole)


def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(whole, tmp_path, capsys):
    fit(tmp_path, replace(CONFIG, steps=4))
    for file in (tmp_path / "checkpoints" / "4" / "params").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:20])
    fit(tmp_path)
    out, err = capsys.readouterr()
    assert "checkpoints/4' cannot be read" in err and "test: resuming from step 2" in out
    assert steps(tmp_path) == [2, 4, 6]
    tiny.assert_same(tiny.saved(tmp_path, 6), tiny.saved(whole, 6))
    assert tiny.rows(tmp_path) == tiny.rows(whole)


def test_the_best_by_a_metric_is_kept(tmp_path):
    fit(tmp_path, replace(CONFIG, keep=1, best="loss"))
    losses = {int(row["step"]): float(row["loss"]) for row in tiny.rows(tmp_path)}
    means = {n: (losses[n - 1] + losses[n]) / 2 for n in (2, 4, 6)}
    best = min(means, key=means.get)
    assert steps(tmp_path) == sorted({best, 6})
    with pytest.raises(
        InputError, match=r"train\.best is los: expected one of gradient_norm, loss"
    ):
        fit(tmp_path / "other", replace(CONFIG, best="los"))


def measurement(every, taken=None):
    """The distance of w to one that the third step comes nearest to."""

    def of(state):
        w = float(state.params["net"]["w"])
        if taken is not None:
            taken.append((int(state.step), w))
        return {"fid": abs(w + 0.1)}

    return Measurement(every, ("fid",), of)


def test_what_is_measured_is_a_column_at_its_steps_and_at_the_end(whole, tmp_path):
    taken = []
    config = replace(CONFIG, log_every=6)
    fit(tmp_path, config, measurement=measurement(4, taken))
    assert [step for step, _ in taken] == [4, 6]
    found = {int(row["step"]): row["fid"] for row in tiny.rows(tmp_path)}
    expected = {step: f"{abs(w + 0.1)}" for step, w in taken}
    assert {step: value for step, value in found.items() if value} == expected
    tiny.assert_same(tiny.saved(tmp_path, 6), tiny.saved(whole, 6))  # training does not notice


def test_the_best_by_what_is_measured_is_saved_and_kept(tmp_path):
    config = replace(CONFIG, keep=1, save_every=4, best="fid")
    fit(tmp_path, config, measurement=measurement(3))
    values = {int(row["step"]): float(row["fid"]) for row in tiny.rows(tmp_path) if row["fid"]}
    assert values.keys() == {3, 6}
    assert checkpoint.best_step(tmp_path, "fid") == min(values, key=values.get) == 3
    assert steps(tmp_path) == [3, 6]  # and not 4, which was saved without


def test_steps_asked_for_are_in_a_trace(tmp_path):
    fit(tmp_path, replace(CONFIG, profile_steps=(2, 3)))
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_what_compiling_took_and_a_step_costs_is_said(whole, tmp_path, capsys):
    def product(params, batch, keys):  # [4, 5] times [5, 3], and what it takes to differentiate it
        w = params["net"]["w"] * jnp.ones((5, 3))
        total = jnp.sum(jnp.ones((4, 5)) @ w) / 60.0
        return total, {"loss": total}

    fit(tmp_path, replace(CONFIG, steps=1), loss=product)
    out = capsys.readouterr().out
    assert "test: first step after" in out
    assert f"{2 * 2 * 4 * 5 * 3 / 1e9:.4g} GFLOP" in out
    assert "MiB a device" in out


def test_hosts_share_out_the_positions_of_the_batch(monkeypatch):
    """As the pipeline deals examples: so an example draws the same numbers on whichever host."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    dealt = []
    for host in range(2):
        monkeypatch.setattr(jax, "process_index", lambda host=host: host)
        dealt.append(loop.with_positions({"image": np.zeros((3, 1, 1, 1))})["position"].tolist())
    assert dealt == [[0, 2, 4], [1, 3, 5]]


def test_examples_know_their_position_in_the_batch():
    batch = loop.with_positions({"image": np.zeros((3, 1, 1, 1))})
    assert batch["position"].tolist() == [0, 1, 2]
    assert batch["position"].dtype == np.int32
