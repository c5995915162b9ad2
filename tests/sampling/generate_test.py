"""Images from a model: what decides them, and what does not."""

from functools import partial

import numpy as np
import pytest

from ldm_jax.data import image_files
from ldm_jax.diffusion import spacing
from ldm_jax.diffusion.samplers.names import build_sampler
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.sampling.generate import (
    NO_EXTRAS,
    Extras,
    at_once,
    each_batch,
    for_latents,
    in_batches,
    make_generate,
)
from tests.support import tiny

EXPERIMENT = tiny.experiment()
T = EXPERIMENT.diffusion.steps
SEEDS = np.array([3, 1, 4, 2**32 - 1], np.uint32)


@pytest.fixture(scope="module")
def model():
    return tiny.model(EXPERIMENT)


@pytest.fixture(scope="module")
def compiled(model):
    return make_generate(model[0], build_sampler("ddim"), tiny.SIZE)


@pytest.fixture(scope="module")
def generate(model, compiled):
    """Four images, by one compiled function."""
    _, params, tokenizer = model

    def call(
        prompt="a red block at the top",
        seeds=SEEDS,
        steps=3,
        guidance=2.0,
        eta=0.0,
        noise=None,
        given=NO_EXTRAS,
    ):
        inputs = {"tokens": np.tile(tokens.encode(tokenizer, prompt), (len(seeds), 1))}
        grid = spacing.pad(spacing.times("trailing", model[0].process, steps), T)
        extra = () if noise is None and given is NO_EXTRAS else (noise, given)
        return np.asarray(compiled(params, inputs, seeds, grid, guidance, {"eta": eta}, *extra))

    return call


def apart(a, b):
    return np.max(np.abs(a - b))


def assert_same(found, expected):
    """But for the last bits: on some CPUs a convolution of XLA's rounds an image by its place in
    the batch (1.5e-6 here with AVX2, nothing with AVX-512)."""
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-5)


def test_images_are_of_8_bits(generate):
    images = generate()
    assert images.shape == (4, tiny.SIZE, tiny.SIZE, 3)
    assert -1.0 <= images.min() < images.max() <= 1.0
    assert min(apart(images[i], images[j]) for i in range(4) for j in range(i)) > 0.1


def test_the_same_request_gives_the_same_images(generate):
    np.testing.assert_array_equal(generate(), generate())


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a blue block at the bottom"},
        {"steps": 2},
        {"guidance": 1.0},
        {"eta": 1.0},
        {"seeds": SEEDS[::-1]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_that_is_asked_for_counts(generate, change):
    assert apart(generate(**change), generate()) > 0.01


def test_an_image_belongs_to_its_seed_wherever_it_stands(generate):
    for eta in (0.0, 1.0):
        order = np.array([2, 0, 3, 1])
        assert_same(generate(seeds=SEEDS[order], eta=eta), generate(eta=eta)[order])


def test_an_image_belongs_to_its_seed_whatever_the_batch_size(generate):
    for eta in (0.0, 1.0):
        together, alone = generate(eta=eta)[1:2], generate(eta=eta, seeds=SEEDS[1:2])
        np.testing.assert_allclose(together, alone, atol=1e-4)
        levels = [image_files.to_uint8(image).astype(int) for image in (together, alone)]
        assert apart(*levels) <= 1


def test_noise_from_outside_takes_the_place_of_the_seeds(generate):
    noise = np.random.default_rng(0).normal(size=(4, 4, 4, 2)).astype(np.float32)
    found = generate(noise=noise)
    np.testing.assert_array_equal(generate(noise=noise, seeds=SEEDS[::-1]), found)
    assert_same(generate(noise=noise[::-1]), found[::-1])
    assert (
        apart(generate(noise=noise, eta=1.0), generate(noise=noise, eta=1.0, seeds=SEEDS[::-1]))
        > 0.01
    )


def test_guidance_zero_does_not_hear_the_prompt_and_the_empty_prompt_needs_no_guidance(generate):
    np.testing.assert_allclose(
        generate(guidance=0.0), generate("a blue block at the bottom", guidance=0.0), atol=1e-5
    )
    np.testing.assert_allclose(generate("", guidance=5.0), generate("", guidance=1.0), atol=1e-4)
    np.testing.assert_allclose(generate("", guidance=1.0), generate(guidance=0.0), atol=1e-4)


def test_no_request_compiles_anything_again(generate, compiled):
    generate()
    before = compiled._cache_size()
    generate("a grey block", SEEDS + 1, steps=T, guidance=1.0, eta=1.0)
    generate("", SEEDS - 1, steps=1, guidance=7.5, eta=0.5)
    assert compiled._cache_size() == before


def test_every_sampler_runs_unconditionally_too():
    experiment = tiny.experiment(conditions=())
    model = experiment.build()
    params = {**tiny.drawn(model.init), "first_stage": tiny.drawn(model.first_stage.init)}
    draw = make_generate(model, build_sampler("ddpm"), tiny.SIZE)
    grid = spacing.times("leading", model.process, 4)
    plain, guided = (np.asarray(draw(params, {}, SEEDS, grid, scale, {})) for scale in (1.0, 3.0))
    assert plain.shape == (4, tiny.SIZE, tiny.SIZE, 3)
    np.testing.assert_array_equal(plain, guided)  # there is nothing to guide to


@pytest.mark.parametrize(
    ("count", "devices", "size"),
    [(1, 1, 1), (3, 1, 4), (9, 1, 16), (100, 1, 16), (1, 8, 8), (9, 3, 18)],
)
def test_few_images_are_not_filled_up_to_many(count, devices, size, monkeypatch):
    monkeypatch.setattr("jax.device_count", lambda: devices)
    assert at_once(count) == size


@pytest.mark.parametrize(("count", "size"), [(5, 2), (4, 2), (1, 3), (3, 3)])
def test_any_number_of_images_is_drawn_in_batches_of_one_size(count, size):
    asked = []

    def draw(offset, inputs, seeds):
        asked.append((inputs["label"].tolist(), seeds.tolist()))
        assert seeds.dtype == np.uint32
        return (offset + 10.0 * inputs["label"] + seeds)[:, None, None, None]

    labels, seeds = np.arange(count), 5 + np.arange(count)
    images = in_batches(partial(draw, 0.5), {"label": labels}, seeds, size)
    assert images[:, 0, 0, 0].tolist() == (0.5 + 10.0 * labels + seeds).tolist()
    assert all(len(rows) == len(seeds) == size for rows, seeds in asked)
    filling = len(asked) * size - count
    assert asked[-1][0][size - filling :] == [count - 1] * filling


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite_are_named(value):
    def draw(inputs, seeds):
        images = np.zeros((2, 4, 4, 3), np.float32)
        images[seeds == 13, 1, 2] = value
        return images, np.zeros((2, 5, 4, 4, 3), np.uint8)  # and previews

    batches = each_batch(draw, {}, 10 + np.arange(5), 2)
    assert next(batches)[0].shape == (2, 4, 4, 3)
    with pytest.raises(FloatingPointError, match=r"^image 3, of seed 13, is not finite \(1 of 2"):
        next(batches)


def guided(rescale=0.0, interval=(0.0, np.inf), limit=np.inf):
    return Extras(rescale=rescale, interval=interval, limit=limit)


def test_guidance_may_be_rescaled_limited_in_time_and_in_size_by_one_compiled_function(
    generate, compiled
):
    plain, none = generate(), generate(given=guided())
    np.testing.assert_allclose(none, plain, atol=1e-5)
    size = compiled._cache_size()
    for change in ({"rescale": 0.7}, {"interval": (0.5, 2.0)}, {"limit": 0.5}):
        assert apart(generate(given=guided(**change)), none) > 1e-3, change
    never = generate(given=guided(interval=(1e6, 1e7)))
    np.testing.assert_allclose(never, generate(guidance=1.0), atol=1e-5)
    assert compiled._cache_size() == size


def test_an_empty_negative_prompt_is_the_unconditional_input(generate, model):
    def away_from(text):
        rows = np.tile(tokens.encode(model[2], text), (4, 1))
        return generate(given=Extras(negative={"tokens": rows}))

    np.testing.assert_allclose(away_from(""), generate(), atol=1e-5)
    assert apart(away_from("a blue block at the bottom"), generate()) > 0.01


def test_a_latent_is_inpainted_where_any_of_its_pixels_is():
    mask = np.zeros((1, 4, 6, 1), np.float32)
    mask[0, 1, 2] = 1.0
    assert np.asarray(for_latents(mask, 2))[0, ..., 0].tolist() == [[0, 1, 0], [0, 0, 0]]
