"""evaluate.py sweep: cells, intervals, and what is not done twice."""

from pathlib import Path

import evaluate as tool
import jax.numpy as jnp
import numpy as np
import pytest

from ldm_jax import sampling
from ldm_jax.config import Sampling
from ldm_jax.errors import InputError
from ldm_jax.evaluate import features
from ldm_jax.evaluate import sweep as evaluation
from ldm_jax.evaluate.chart import chart
from ldm_jax.evaluate.sweep import Options, interval, plan, summary
from ldm_jax.extractors.extractor import Extractor
from ldm_jax.weights.names.extractors import Weights

OWN = Sampling(sampler="ddim", steps=4, guidance=2.0, eta=0.0)


def test_cells_are_all_combinations_with_seeds_of_their_own():
    options = Options(steps=(2, 4), guidance=(1.0, 3.0), samplers=("ddim", "heun"), seeds=2, num=10)
    cells = plan(OWN, options)
    assert len(cells) == len(set(cells)) == len({cell.file() for cell in cells}) == 16
    assert {cell.seed for cell in cells} == {0, 10}
    assert {cell.eta for cell in cells if cell.sampler == "heun"} == {None}
    assert [cell.sampler for cell in cells] == ["ddim"] * 8 + ["heun"] * 8


def test_the_runs_own_settings_are_taken_where_none_are_given():
    cells = plan(OWN, Options(steps=(4,), seeds=1))
    assert [cell._replace(seed=0) for cell in cells] == [("ddim", 4, 2.0, 0.0, 0)]


def test_an_interval_holds_the_mean_nineteen_times_in_twenty():
    rng = np.random.default_rng(0)
    for n in (2, 4, 30):
        draws = rng.normal(5.0, 2.0, (3000, n))
        inside = [abs(np.mean(row) - 5.0) < interval(row) for row in draws]
        assert np.mean(inside) == pytest.approx(0.95, abs=0.015)
    assert interval([3.0]) is None


def test_a_row_a_cell():
    each = {"sampler": "ddim", "steps": 4, "guidance": 1.0, "eta": None}
    rows = summary([{**each, "distance": 1.0}, {**each, "distance": 3.0}])
    assert (rows[0]["mean"], rows[0]["seeds"], len(rows)) == (2.0, 2, 1)


def test_a_chart_has_a_curve_where_its_points_are():
    image = chart({"a": [(1, 0.0, 0.1), (5, 1.0, 0.1)], "b": [(1, 1.0, 0.0)]}, "x", "y")
    assert image.dtype == np.uint8
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 3


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="--seeds is 0: expected at least 1"):
        tool.main(["sweep", "run", "b", "--seeds", "0"])
    with pytest.raises(InputError, match="--num is 1: expected at least 2"):
        tool.main(["sweep", "run", "b", "--num", "1"])
    with pytest.raises(InputError, match="--eta given to heun"):
        plan(OWN, Options(samplers=("heun",), eta=(0.5,)))


def test_finished_cells_are_not_drawn_again_and_samplers_compile_once(
    class_run, tmp_path, monkeypatch
):
    params = np.random.default_rng(0).normal(size=(192, 4)).astype(np.float32)
    linear = Extractor(
        name="inception",
        title="a linear network",
        distance="FID",
        main="pool",
        init=lambda key: jnp.zeros((192, 4)),
        prepare=lambda images: images,
        scale=lambda x: jnp.asarray(x, jnp.float32) / 255.0,
        network=lambda params, x: {"pool": x.reshape(len(x), -1) @ params},
        resize="none",
        size=8,
    )
    made = []

    def compiled(*words):
        made.append(words)
        return sampling.drawing.compiled(*words)

    monkeypatch.setattr(features, "extractor", lambda *_: linear)
    monkeypatch.setattr(features, "load_extractor", lambda *_: Weights(params, Path("x.pth"), "0"))
    monkeypatch.setattr(evaluation, "compiled", compiled)
    monkeypatch.chdir(tmp_path)
    words = ["sweep", str(class_run), f"data:{class_run}", "--out", "out", "--num", "4"]
    words += ["--draw-batch", "4", "--batch-size", "4", "--seeds", "2", "--guidance", "1", "3"]
    tool.main([*words, "--steps", "2"])
    assert len(made) == 1  # for four cells
    cells = {path.name: path.read_text() for path in Path("out/cells").iterdir()}
    assert len(cells) == 4
    table = Path("out/sweep.md").read_text()
    assert table.count("| ddim | 2 |") == 2
    assert "+-" in table
    assert Path("out/sweep.png").exists()
    tool.main([*words, "--steps", "2"])
    assert len(made) == 1
    assert {path.name: path.read_text() for path in Path("out/cells").iterdir()} == cells
    assert Path("out/sweep.md").read_text() == table
    words[words.index("--num") + 1] = "6"
    with pytest.raises(InputError, match=r"cells of another sweep \(num 4, now 6\)"):
        tool.main([*words, "--steps", "2"])
