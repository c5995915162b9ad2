"""Interpolation between prompts and between seeds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sample
from ldm_jax import runs, sampling
from ldm_jax.conditioning.prompts import segments
from ldm_jax.errors import InputError
from ldm_jax.sampling.images import Images
from ldm_jax.sampling.interpolate import Interpolation
from ldm_jax.sections import Request
from tests.support import tiny

RED, BLUE = "a red block at the top", "a blue block at the bottom"


@pytest.fixture(scope="module", name="model")
def _model(caption_run):
    return runs.load(caption_run)


def pixels(path):
    return np.asarray(Image.open(path))


def drawn(model, **asked):
    return sampling.draw(model, sampling.resolve(model, batch_size=2, **asked)).images.astype(int)


def test_an_interpolation_is_from_one_image_to_another_through_neither(model):
    trajectory = drawn(model, interpolate=5, prompt=[RED, BLUE], seed=3, to_seed=[8])
    first, last = drawn(model, prompt=[RED], seed=3), drawn(model, prompt=[BLUE], seed=8)
    assert trajectory.shape == (5, tiny.SIZE, tiny.SIZE, 3)
    np.testing.assert_allclose(trajectory[[0, -1]], np.concatenate([first, last]), atol=1)
    apart = np.abs(np.diff(trajectory, axis=0)).reshape(4, -1).max(axis=1)
    assert np.all(apart > 1)


def test_one_seed_or_one_prompt_may_stay(model):
    prompts = drawn(model, interpolate=3, prompt=[RED, BLUE], seed=3)
    np.testing.assert_allclose(prompts[2], drawn(model, prompt=[BLUE], seed=3)[0], atol=1)
    noises = drawn(model, interpolate=3, prompt=[RED], seed=3, to_seed=[8])
    np.testing.assert_allclose(noises[2], drawn(model, prompt=[RED], seed=8)[0], atol=1)
    from_nothing = drawn(model, interpolate=2, prompt=["", BLUE], seed=3)
    np.testing.assert_allclose(from_nothing[1], prompts[2], atol=1)


def test_an_interpolation_goes_through_all_stops_at_an_even_pace():
    def of(num, turn=0):
        return Request.of([Images(num, 2, 0, turn), Interpolation(5)])

    segment, fraction = segments(of(5), 2)
    np.testing.assert_array_equal(segment, [0, 0, 1, 1, 1])
    np.testing.assert_allclose(fraction, [0, 0.5, 0, 0.5, 1])
    segment, fraction = segments(of(2, 3), 1)
    np.testing.assert_allclose(segment + fraction, [0.75, 1.0])


def test_a_frame_is_drawn_again_alone_and_the_rest_of_the_request_counts(draw, caption_run, capsys):
    draw(
        caption_run, "--out", "walk", "--interpolate", 4, "--prompt", RED, BLUE, RED,
        "--seed", 5, "--to-seed", 1, "--guidance", 3, "--negative-prompt", "a grey block",
        "--gif", 10, "--sampler", "ddpm", "--batch-size", 1,
    )  # fmt: skip
    said = capsys.readouterr().out
    assert f"4 of 4 frames from prompt '{RED}' to '{BLUE}' to '{RED}' and from seed 5 to 1" in said
    assert sorted(path.name for path in Path("walk").glob("0*.png"))[-1] == "000003.png"
    with Image.open("walk/interpolation.gif") as moving:
        assert (moving.n_frames, moving.info["duration"]) == (4, 100)
    draw("--repeat", "walk/000002.png", "--out", "again")
    np.testing.assert_array_equal(pixels("again/000000.png"), pixels("walk/000002.png"))
    draw("--repeat", "walk/000002.png", "--out", "longer", "--interpolate", 7, "--gif", 5)
    np.testing.assert_array_equal(pixels("longer/000004.png"), pixels("walk/000002.png"))
    assert len(list(Path("longer").glob("0*.png"))) == 7


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"to_seed": [3]}, "--to-seed 3 without --interpolate"),
        ({"interpolate": 1, "to_seed": [3]}, "--interpolate is 1: expected at least 2"),
        ({"interpolate": 4}, "--interpolate is 4: expected several of --prompt, or --to-seed"),
        ({"interpolate": 4, "to_seed": [-1]}, "--to-seed is -1: expected 0 to"),
        ({"interpolate": 4, "to_seed": [3], "num": 5}, "--num is 5, .* at most 4"),
        (
            {"interpolate": 4, "prompt": [RED, BLUE], "negative_prompt": [RED, BLUE]},
            "--negative-prompt names 2",
        ),
        (
            {"interpolate": 4, "prompt": [RED, BLUE], "compose": [RED, BLUE]},
            "--compose 'a red block at the top' and --prompt do not go together",
        ),
    ],
)
def test_an_interpolation_that_leads_nowhere_is_refused(model, asked, said):
    with pytest.raises(InputError, match=said):
        sampling.resolve(model, **asked)


def test_noise_of_a_file_is_not_interpolated_and_a_gif_needs_an_interpolation(model, tmp_path):
    np.save(tmp_path / "z.npy", np.zeros((2, 4, 4, 2)))
    with pytest.raises(InputError, match="--to-seed 3 and --latents do not go"):
        sampling.resolve(model, interpolate=2, to_seed=[3], latents=str(tmp_path / "z.npy"))
    with pytest.raises(InputError, match="--gif 5 without --interpolate"):
        sample.main([str(model.run), "--gif", "5"])
    with pytest.raises(InputError, match=r"--gif is 0\.0: expected more than 0"):
        sample.main([str(model.run), "--gif", "0"])
