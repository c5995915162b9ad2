"""A model as a program uses it: arrays in, arrays out, programs compiled once, nothing printed."""

import logging

import numpy as np
import pytest
from PIL import Image

import ldm_jax
from ldm_jax import runs, sampling
from ldm_jax.convert import convert
from ldm_jax.errors import InputError
from ldm_jax.sampling.view import view


@pytest.fixture(scope="module")
def model(trained_run):
    return ldm_jax.load(trained_run)


def compiled(model) -> list[int]:
    """How many programs each kept function has compiled."""
    return [made._cache_size() for _, made in model._programs.values()]


@pytest.fixture
def logged(monkeypatch):
    """The lines of the log of a test."""
    lines, handler = [], logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    log = logging.getLogger("ldm_jax")
    monkeypatch.setattr(log, "handlers", [*log.handlers, handler])
    monkeypatch.setattr(log, "propagate", False)
    monkeypatch.setattr(log, "level", logging.INFO)
    log.manager._clear_cache()
    yield lines
    log.manager._clear_cache()


def test_images_are_those_of_sample_py_and_nothing_is_printed(model, trained_run, capfd, logged):
    asked = {"num": 2, "steps": 3, "guidance": 2.0, "seed": 5}
    images = model.sample("a red circle", **asked)
    assert capfd.readouterr() == ("", "")
    assert "3 steps" in logged[0]
    trained = runs.load(trained_run)
    request = sampling.resolve(trained, prompt=("a red circle",), **asked)
    np.testing.assert_array_equal(images, sampling.draw(trained, request).images)


def test_what_differs_in_numbers_alone_compiles_nothing_again(model):
    model.sample(["a red circle"], num=2, steps=3, seed=5)
    before = compiled(model)
    for more in ({"steps": 2}, {"guidance": 3.0}, {"seed": 9}, {"prompts": ["a blue square"]}):
        model.sample(**{"prompts": "a red circle", "num": 2, "steps": 3, **more})
    assert compiled(model) == before


def test_an_array_an_image_and_a_path_are_the_same(model, tmp_path):
    side = view(model.trained).image_size
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    path = tmp_path / "start.png"
    Image.fromarray(pixels).save(path)
    one, *others = (
        model.sample("a red circle", num=2, steps=2, init_image=start, strength=0.5)
        for start in (pixels, Image.fromarray(pixels), path)
    )
    for other in others:
        np.testing.assert_array_equal(one, other)
    z, *others = (
        model.encode(start) for start in (pixels, [pixels], pixels[None], path, str(path))
    )
    for other in others:
        np.testing.assert_array_equal(z, other)


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m"])
def test_a_stream_ends_with_the_images_that_are_drawn_in_one_go(model, sampler):
    asked = {"prompts": "a red circle", "num": 2, "steps": 5, "seed": 3, "sampler": sampler}
    whole = model.sample(**asked)
    steps, images = zip(*model.stream(**asked, preview_every=2), strict=True)
    assert steps == (2, 4, 5)
    assert {one.shape for one in images} == {whole.shape}
    np.testing.assert_allclose(images[-1].astype(int), whole.astype(int), atol=1)  # rounding
    kept = len(model._programs)
    next(model.stream(**asked | {"steps": 4}, preview_every=3))
    assert len(model._programs) == kept
    with pytest.raises(InputError, match="preview_every is 6: expected 1 to 5"):
        next(model.stream(**asked, preview_every=6))


def test_latents_go_there_and_back(model):
    images = model.sample("a red circle", num=2, steps=2)
    z = model.encode(images)
    f = view(model.trained).factor
    assert z.shape == (2, images.shape[1] // f, images.shape[2] // f, view(model.trained).channels)
    back = model.decode(z)
    assert back.dtype == np.uint8 and back.shape == images.shape
    with pytest.raises(InputError, match="latents have the shape"):
        model.decode(z[0])


def test_a_text_is_one_text_and_its_tokens_are_attended_to(model):
    one, several = model.encode_text("a red circle"), model.encode_text(["a red circle", "x"])
    assert one.ndim == 3 and len(several) == 2
    np.testing.assert_allclose(several[:1], one, atol=1e-5)


def test_bad_input_is_an_error_of_one_line(model, tmp_path):
    with pytest.raises(TypeError, match="no option 'stpes'"):
        model.sample("a red circle", stpes=3)
    with pytest.raises(InputError, match="--steps is 0"):
        model.sample("a red circle", steps=0)
    with pytest.raises(InputError, match="does not exist: expected a run, a file of weights"):
        ldm_jax.load(tmp_path / "none")
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        ldm_jax.lod  # noqa: B018


def test_what_is_converted_is_converted_once(trained_run, tmp_path, monkeypatch):
    monkeypatch.setenv("LDM_JAX_CACHE", str(tmp_path / "cache"))
    convert(trained_run / "first_stage", tmp_path / "vae")
    first = ldm_jax.load(tmp_path / "vae")
    again = ldm_jax.load(tmp_path / "vae")
    assert first.trained.run == again.trained.run
    assert len(list((tmp_path / "cache" / "converted").iterdir())) == 1
