"""A cascade: a model of pixels, trained alone, and one that enlarges what it draws."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sample
from ldm_jax import cli, runs, training
from ldm_jax.autoencoders.pixels import Pixels
from ldm_jax.config import FirstStageExperiment, LowResolution, Sampling
from ldm_jax.errors import InputError
from ldm_jax.experiments.cascade import Cascade, Stage
from ldm_jax.sampling import cascade_request
from ldm_jax.sampling.cascade import Part, check_fits, draw, in_levels, parts_of
from tests.support import tiny

SEEDS = np.arange(3, dtype=np.uint32)


def short(experiment, steps=2):
    return replace(experiment, train=replace(experiment.train, steps=steps, save_every=steps))


@pytest.fixture(scope="module", name="base")
def _base(image_folder, own_copy):
    """A run in pixel space, of captions."""

    def make(run):
        experiment = short(tiny.experiment(image_folder))
        data = replace(experiment.data, image_size=4)
        first = FirstStageExperiment(model=Pixels())
        training.train(replace(experiment, first_stage=first, data=data), run)

    return own_copy("pixels", make)


def upsampler():
    """A model with drawn weights that makes images of 8 pixels a side of those of 4."""
    condition = LowResolution(factor=2)
    model = tiny.experiment(conditions=(condition,)).build()
    params = {**tiny.drawn(model.init), "first_stage": tiny.drawn(model.first_stage.init)}
    asked = Sampling(steps=2, spacing="trailing")
    return Part("'up'", model, asked, (8, 8), None, lambda: params)


def test_pixel_space_trains_and_samples_without_a_first_stage(base):
    assert not (base / "first_stage").exists()
    trained = runs.load(base)
    np.testing.assert_array_equal(trained.params["first_stage"]["scale"], np.ones(3))
    assert trained.params["first_stage"].keys() == {"shift", "scale"}
    assert len(tiny.rows(base)) == 2
    assert all(np.isfinite(float(row["loss"])) for row in tiny.rows(base))
    (images,) = draw(parts_of(Cascade((Stage(str(base)),))), SEEDS, ("a red block",))
    assert images.shape == (3, 4, 4, 3)


def test_each_stage_draws_with_its_own_sampling_what_the_next_reads(base):
    first = Stage(str(base), feeds="low_resolution", sampling=Sampling(steps=3, spacing="trailing"))
    (part,) = [parts_of(Cascade((replace(first, feeds=None),)))[0]._replace(feeds=first.feeds)]
    assert part.sampling.steps == 3
    parts = [part, upsampler()]
    check_fits(parts)
    small, large = draw(parts, SEEDS, ("a red block", "a blue block"))
    assert (small.shape, large.shape) == ((3, 4, 4, 3), (3, 8, 8, 3))
    moved = part._replace(sampling=replace(part.sampling, steps=1))
    other, changed = draw([moved, parts[1]], SEEDS, ("a red block", "a blue block"))
    assert np.max(np.abs(other - small)) > 1e-3
    assert np.max(np.abs(changed - large)) > 1e-4
    turned = draw(parts, SEEDS[[1, 0, 2]], ("a blue block", "a red block"))
    np.testing.assert_allclose(turned[1][:2], large[[1, 0]], atol=1e-5)


def test_stages_that_do_not_fit_are_refused(base):
    with pytest.raises(InputError, match=r"stages is \(\): expected at least one"):
        Cascade().check()
    with pytest.raises(InputError, match=r"stages.0.feeds is None: expected the entry"):
        Cascade((Stage("a"), Stage("b"))).check()
    with pytest.raises(InputError, match=r"stages.0.feeds is 'depth': leave it out"):
        Cascade((Stage("a", "depth"),)).check()
    same = Stage(str(base), "low_resolution"), Stage(str(base))
    with pytest.raises(InputError, match=r"feeds 'low_resolution' .* entries .* reads, tokens"):
        parts_of(Cascade(same))
    (part,) = parts_of(Cascade((Stage(str(base)),)))
    wide = part._replace(size=(4, 8), feeds="low_resolution")
    with pytest.raises(InputError, match=r"draws images \(4, 8, 3\), and 'up' reads .*\(4, 4, 3\)"):
        check_fits([wide, upsampler()])
    with pytest.raises(InputError, match="stage 'up' reads 'low_resolution': expected it beside"):
        draw([upsampler()], SEEDS)


def write_cascade(folder, base):
    """A file of a cascade of the run, and of a stage that is put in place of a second run."""
    text = f"""from ldm_jax.config import *

two = Sampling(steps=2, spacing="trailing")
first = Stage({str(base)!r}, feeds="low_resolution", sampling=two)
config = Cascade((first, Stage("up", sampling=two)))
"""
    (folder / "small.py").write_text(text)
    return str(folder / "small.py")


def test_one_command_draws_through_all_stages(base, tmp_path, monkeypatch, capsys):
    first = parts_of(Cascade((Stage(str(base)),)))[0]

    def parts(cascade):
        up = upsampler()._replace(batch_size=cascade.stages[1].batch_size)
        before = first._replace(feeds="low_resolution")
        return [
            one._replace(sampling=stage.sampling)
            for one, stage in zip((before, up), cascade.stages, strict=True)
        ]

    monkeypatch.setattr(cascade_request, "parts_of", parts)
    path, out = write_cascade(tmp_path, base), tmp_path / "out"
    words = [path, "--out", str(out), "--num", "3", "--prompt", "a red block", "--seed", "5"]
    sample.main([*words, "--stages.1.steps", "1", "--stages.1.batch-size", "2", "--all-stages"])
    said = capsys.readouterr().out
    assert "2 steps over trailing" in said
    assert "1 steps over trailing" in said
    with np.load(out / "samples.npz") as file:
        images = file["arr_0"]
    assert (images.shape, images.dtype) == ((3, 8, 8, 3), np.uint8)
    assert sorted(x.name for x in (out / "stages" / "0").iterdir()) == [
        "000000.png",
        "000001.png",
        "000002.png",
    ]
    report = json.loads((out / "report.json").read_text())
    assert report["cascade"]["stages"][1]["sampling"]["steps"] == 1
    assert report["request"]["seed"] == 5
    sample.main([*words, "--stages.1.sampling.steps", "1", "--num", "2"])
    assert not (out / "stages" / "0" / "000000.png").exists()
    with np.load(out / "samples.npz") as file:
        np.testing.assert_allclose(file["arr_0"], images[:2], atol=1)


def test_what_a_stage_feeds_has_the_levels_of_a_file():
    x = np.linspace(-1, 1, 1000, dtype=np.float32)
    assert len(np.unique(in_levels(x))) == 256
    assert np.max(np.abs(in_levels(x) - x)) <= 1 / 255 + 1e-6


def test_what_is_no_cascade_is_refused(tmp_path):
    (tmp_path / "a.py").write_text("from ldm_jax.config import *\nconfig = Experiment()")
    with pytest.raises(InputError, match=r"has no Cascade: expected `config = Cascade\(...\)`"):
        sample.main([str(tmp_path / "a.py")])
    with pytest.raises(InputError, match=r"cascade .* does not exist"):
        sample.main([str(tmp_path / "b.py")])
    (tmp_path / "c.py").write_text("from ldm_jax.config import *\nconfig = Cascade()")
    with pytest.raises(InputError, match=r"stages is \(\): expected at least one"):
        sample.main([str(tmp_path / "c.py")])
    with pytest.raises(InputError, match="has no experiment"):
        cli.load_config(tmp_path / "c.py")
    path = write_cascade(tmp_path, tmp_path)
    with pytest.raises(InputError, match=r"--stages\.1\.sampling\.stepz is not a setting"):
        sample.main([path, "--stages.1.stepz", "2"])


def test_the_cascades_in_configs_follow_one_another():
    for path in (Path(__file__).parents[2] / "configs" / "cascades").glob("*.py"):
        cli.load_cascade(path).check()
