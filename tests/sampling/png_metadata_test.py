"""An image says how it was drawn, and is drawn again from that, pixel for pixel."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldm_jax import sampling
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.sampling import png_metadata


def pixels(path):
    return np.asarray(Image.open(path))


def test_a_picture_is_drawn_again_and_what_is_given_beside_it_counts(draw, caption_run):
    draw(
        caption_run, "--out", "a", "--num", 3, "--batch-size", 2, "--seed", 7,
        "--prompt", "a red block at the top", "a blue block at the top", "--sampler", "heun",
        "--negative-prompt", "a grey block at the bottom", "--guidance", 3, "--s-churn", 2,
    )  # fmt: skip
    draw("--from", "a/000001.png", "--out", "b")
    (again,) = sorted(Path("b").glob("0*.png"))
    np.testing.assert_array_equal(pixels(again), pixels("a/000001.png"))
    said = [png_metadata.read(path)["request"] for path in ("a/000001.png", again)]
    assert said[0] == said[1] and said[0]["prompts"] == ["a blue block at the top"]
    draw(caption_run, "--from", "a/000002.png", "--sampler", "ddim", "--steps", 2, "--num", 2)
    report = json.loads((caption_run / "again-000002" / "report.json").read_text())
    assert (report["seed"], report["sampler"], report["steps"], report["num"]) == (9, "ddim", 2, 2)
    assert report["guidance"] == 3.0 and report["prompts"] == ["a red block at the top"]
    draw(
        caption_run, "--out", "c", "--num", 1, "--seed", 9, "--steps", 2, "--guidance", 3,
        "--prompt", "a red block at the top", "--batch-size", 2,
        "--negative-prompt", "a grey block at the bottom",
    )  # fmt: skip
    first = caption_run / "again-000002" / "000000.png"
    np.testing.assert_array_equal(pixels(first), pixels("c/000000.png"))


def test_latents_of_a_file_are_those_of_the_picture(draw, caption_run):
    latents = np.random.default_rng(0).normal(size=(3, 4, 4, 2))
    np.save("z.npy", latents)
    draw(caption_run, "--out", "a", "--num", 3, "--latents", "z.npy", "--batch-size", 3)
    draw("--from", "a/000002.png", "--out", "b")
    np.testing.assert_array_equal(pixels("b/000000.png"), pixels("a/000002.png"))


def test_what_is_given_anew_settles_what_goes_with_it():
    said = {"request": {"sampler": "heun", "s_churn": 2.0, "times": [9.0, 3.0], "steps": 2,
                        "grid": None, "labels": [3], "prompts": [], "seed": 4}}  # fmt: skip
    found = png_metadata.settings(said, set())
    assert found["times"] == (9.0, 3.0) and "steps" not in found
    assert found["label"] == ("3",) and found["s_churn"] == 2.0
    assert "s_churn" not in png_metadata.settings(said, {"sampler"})
    assert "times" not in png_metadata.settings(said, {"steps"})
    assert "seed" not in png_metadata.settings(said, {"seed"})


def test_files_that_do_not_say_it_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist: expected a PNG"):
        png_metadata.read(str(tmp_path / "none.png"))
    image_files.save(tmp_path / "bare.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(InputError, match="does not say how it was drawn"):
        png_metadata.read(str(tmp_path / "bare.png"))
    (tmp_path / "text.png").write_text("a")
    with pytest.raises(InputError, match="cannot be read"):
        png_metadata.read(str(tmp_path / "text.png"))


def test_a_request_of_many_is_that_of_each():
    asked = sampling.Request(num=4, batch_size=2, seed=5, prompts=("a", "b"), labels=(1, 2, 3))
    one = png_metadata.alone(asked, 3)
    assert (one.num, one.seed, one.prompts, one.labels, one.turn) == (1, 8, ("b",), (1,), 3)
    assert png_metadata.alone(one, 0) == one
