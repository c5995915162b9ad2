"""A cascade: a model of pixels, trained alone, and one that enlarges what it draws."""

from dataclasses import replace

import numpy as np
import pytest

from ldm_jax import runs, training
from ldm_jax.autoencoders.pixels import Pixels
from ldm_jax.config import FirstStageExperiment, LowResolution, Sampling
from ldm_jax.errors import InputError
from ldm_jax.experiments.cascade import Cascade, Stage
from ldm_jax.sampling.cascade import Part, check_fits, draw, parts_of
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
