"""Runs: which of its checkpoints is read, and what each tool calls it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import evaluate
import jax
import numpy as np
import pytest

import sample
from ldm_jax import checkpoint, runs
from ldm_jax.data import pipeline
from ldm_jax.errors import InputError
from ldm_jax.runs import init_from
from ldm_jax.train_step.optimizer import optimizer
from ldm_jax.train_step.state import minimise, new_state
from tests.support import tiny

ROOT = Path(__file__).parents[2]
LOSSES = {2: 0.5, 4: 0.3, 6: 0.4, 8: None}  # by step; the last was not measured


@pytest.fixture(scope="module")
def run(class_run, image_folder, tmp_path_factory):
    """A run of classes whose weights at step n are those of `class_run` times 1 + n / 100, of which
    the best and the newest two are kept."""
    run = tmp_path_factory.mktemp("checkpoints") / "run"
    described = runs.describe(class_run)
    experiment = described.experiment
    experiment = replace(experiment, train=replace(experiment.train, best="loss"))
    source, info = pipeline.open_source(experiment.data)
    data = pipeline.batches(experiment.data, source, seed=0, keys=("label",))
    objective = minimise(None, ("denoiser", "conditioner"))
    params = runs.with_weights(described).params
    runs.write(run, experiment, {}, info)
    with checkpoint.manager(run, keep=2, best="loss") as saves:
        for step, loss in LOSSES.items():
            state = new_state(params, optimizer(experiment.optim, 1), objective)
            ema = jax.tree.map(lambda x, step=step: x * (1 + step / 100), state.ema)
            state = state.replace(step=np.int32(step), ema=ema)
            checkpoint.save(saves, state, data, loss and {"loss": loss, "psnr": -loss})
    return run


def scale(params, of) -> float:
    """How much larger the denoiser's weights are than others."""
    a, b = (np.asarray(jax.tree.leaves(tree["denoiser"])[0]) for tree in (params, of))
    return float(a.ravel()[0] / b.ravel()[0])


def test_the_best_is_kept_beside_the_newest_and_found(run):
    assert checkpoint.steps(run) == [8, 6, 4]
    assert checkpoint.best_step(run, "loss") == 4
    assert checkpoint.best_step(run, "psnr") == 4  # of which more is better: -0.3
    assert checkpoint.best_step(run, "fid") is None
    assert runs.locate(run) == (run, None)
    assert runs.locate(run / "checkpoints" / "best") == (run, 4)
    assert runs.locate(run / "checkpoints" / "6") == (run, 6)


def test_each_checkpoint_has_its_own_weights(run, class_run):
    plain = runs.load(class_run).params
    for which, step in ((None, 8), ("best", 4), ("6", 6)):
        trained = runs.load(runs.chosen(run, which))
        assert (trained.run, trained.step) == (run, step)
        assert scale(trained.params, plain) == pytest.approx(1 + step / 100)


def test_files_of_weights_are_those_of_one_checkpoint(run, tmp_path):
    newest, best = (set(runs.weights_files(place)) for place in (run, run / "checkpoints" / "best"))
    for found, step in ((newest, 8), (best, 4)):
        assert run / "checkpoints" / str(step) / "params" in {p.parent for p in found}
        assert all(str(step) in p.parts and "optimizer" not in p.parts for p in found)
    assert not list(runs.weights_files(tmp_path))


def test_training_starts_from_the_one_that_is_chosen(run, class_run, capsys):
    start = init_from.start_from(
        runs.chosen(run, "best"), runs.load_config(class_run), partial=False
    )
    plain = runs.load(class_run).params
    own = {name: tree for name, tree in plain.items() if name != "first_stage"}
    assert scale(init_from.fill(start, own), plain) == pytest.approx(1.04)
    assert f"starting from '{run}', step 4:" in capsys.readouterr().out
    first = runs.load_first_stage_config(start.run)
    assert Path(first.run) == run / "checkpoints" / "4"
    model = first.model.build()
    tiny.assert_same(runs.load_first_stage(Path(first.run), model), plain["first_stage"])


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("7", "has no checkpoint '7': expected best or one of 4, 6, 8"),
        ("worst", "has no checkpoint 'worst': expected best or one of 4, 6, 8"),
    ],
)
def test_what_is_not_there_is_refused(run, which, message):
    with pytest.raises(InputError, match=message):
        runs.chosen(run, which)


def test_there_is_no_best_where_none_was_asked_for(class_run, run):
    with pytest.raises(InputError, match=r"no best checkpoint, since train\.best is not set"):
        runs.chosen(class_run, "best")
    with pytest.raises(InputError, match="'nowhere': expected a run"):
        runs.chosen("nowhere", "best")


def test_a_damaged_one_is_not_replaced_by_another(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    for file in (copy / "checkpoints" / "6" / "ema").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(InputError, match=r"checkpoints/6' cannot be read .*: expected a whole one"):
        runs.load(runs.chosen(copy, "6"))
    assert runs.load(runs.chosen(copy, "best")).step == 4


def test_the_tools_draw_from_it_and_say_so(run, tmp_path):
    words = ["--num", "2", "--steps", "2"]
    sample.main([str(run), "--checkpoint", "best", *words, "--batch-size", "2"])
    report = json.loads((run / "samples-seed0" / "report.json").read_text())
    assert (report["run"], report["checkpoint"]) == (str(run), 4)
    out = tmp_path / "drawn"
    evaluate.main(["generate", str(run), "--checkpoint", "6", *words, "--out", str(out)])
    drawn = json.loads((out / "report.json").read_text())["generated"]
    assert (drawn["run"], drawn["checkpoint"]) == (str(run), 6)
    with pytest.raises(InputError, match="samples of another request"):
        evaluate.main(["generate", str(run), *words, "--out", str(out)])
    assert not (run / "checkpoints" / "best").exists()
