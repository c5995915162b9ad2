"""An image says how it was drawn, and is drawn again from that, pixel for pixel."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldm_jax.conditioning.label import Labels
from ldm_jax.conditioning.prompts import Prompts
from ldm_jax.data import image_files
from ldm_jax.errors import InputError
from ldm_jax.sampling import png_metadata
from ldm_jax.sampling.images import Images
from ldm_jax.sampling.sampler import Sampler
from ldm_jax.sections import Request
from tests.support import tiny


def pixels(path):
    return np.asarray(Image.open(path))


def test_an_image_is_drawn_again_and_options_given_with_it_count(draw, caption_run):
    draw(
        caption_run, "--out", "a", "--num", 3, "--batch-size", 2, "--seed", 7,
        "--prompt", "a red block at the top", "a blue block at the top", "--sampler", "heun",
        "--negative-prompt", "a grey block at the bottom", "--guidance", 3, "--s-churn", 2,
    )  # fmt: skip
    draw("--repeat", "a/000001.png", "--out", "b")
    (again,) = sorted(Path("b").glob("0*.png"))
    np.testing.assert_array_equal(pixels(again), pixels("a/000001.png"))
    said = [png_metadata.read(path)["request"] for path in ("a/000001.png", again)]
    assert said[0] == said[1] and said[0]["prompts"]["prompt"] == ["a blue block at the top"]
    draw(caption_run, "--repeat", "a/000002.png", "--sampler", "ddim", "--steps", 2, "--num", 2)
    report = tiny.flat(json.loads((caption_run / "again-000002" / "report.json").read_text()))
    assert (report["seed"], report["sampler"], report["steps"], report["num"]) == (9, "ddim", 2, 2)
    assert report["guidance"] == 3.0 and report["prompt"] == ["a red block at the top"]
    draw(
        caption_run, "--out", "c", "--num", 1, "--seed", 9, "--steps", 2, "--guidance", 3,
        "--prompt", "a red block at the top", "--batch-size", 2,
        "--negative-prompt", "a grey block at the bottom",
    )  # fmt: skip
    first = caption_run / "again-000002" / "000000.png"
    np.testing.assert_array_equal(pixels(first), pixels("c/000000.png"))


def test_latents_of_a_file_are_those_of_the_image(draw, caption_run):
    latents = np.random.default_rng(0).normal(size=(3, 4, 4, 2))
    np.save("z.npy", latents)
    draw(caption_run, "--out", "a", "--num", 3, "--latents", "z.npy", "--batch-size", 3)
    draw("--repeat", "a/000002.png", "--out", "b")
    np.testing.assert_array_equal(pixels("b/000000.png"), pixels("a/000002.png"))


SECTIONS = Images, Labels, Sampler


@pytest.mark.parametrize("by_sections", [True, False], ids=["sections", "flat"])
def test_what_is_given_again_settles_what_goes_with_it(by_sections):
    """Also of images of versions whose requests had no sections."""
    options = {"sampler": "heun", "s_churn": 2.0, "times": [9.0, 3.0], "steps": 2}
    record = {"request": {**options, "grid": None, "labels": [3], "prompts": [], "seed": 4}}
    if by_sections:
        parts = {"labels": {"label": [3]}, "images": {"seed": 4}}
        record = {"request": {"sampler": {**options, "spacing": None}, **parts}}

    def repeated(**renewed):
        asked = Request.of(SECTIONS).replace(**renewed)
        return png_metadata.repeated(record, asked, set(renewed)).options()

    found = repeated()
    assert found["times"] == (9.0, 3.0) and found["steps"] is None
    assert found["label"] == (3,) and found["s_churn"] == 2.0
    assert repeated(sampler="euler")["s_churn"] is None
    assert repeated(steps=3)["times"] == ()
    assert repeated(seed=5)["seed"] == 5


@pytest.mark.parametrize("name", ["spacing", "grid"])
def test_a_spacing_is_repeated_under_the_name_of_before_as_well(name):
    request = png_metadata.repeated({"request": {name: "karras"}}, Request.of(SECTIONS), ())
    assert request.sampler.spacing == "karras"


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
    asked = Request.of([Images(4, 2, 5), Prompts(("a", "b")), Labels((1, 2, 3))])
    one = asked.alone(3)
    assert (one.images.num, one.images.seed, one.images.turn) == (1, 8, 3)
    assert (one.prompts.prompt, one.labels.label) == (("b",), (1,))
    assert one.alone(0) == one
