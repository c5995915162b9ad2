"""Models of captions and of an image: what a request has to say, and what comes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldm_jax import config, runs, sampling
from ldm_jax.errors import InputError
from ldm_jax.sampling.drawing import inputs_of
from ldm_jax.sampling.view import view
from tests.support import tiny

SIZE = tiny.SIZE
BESIDE = {
    "inpainting": config.Inpainting(form="stable_diffusion"),
    "depth": config.Depth(),
    "low-resolution": config.LowResolution(factor=2, max_noise=50),
    "unclip": config.UnCLIP(
        channels=8, layers=1, num_heads=2, dim=6, patch=4, size=8, max_noise=50
    ),
}
GIVEN = {
    "inpainting": {"init_image": "picture.png", "mask": "mask.png"},
    "depth": {"depth": "depth.png"},
    "low-resolution": {"low_resolution": "small.png"},
    "unclip": {"image": "picture.png"},
}
every_task = pytest.mark.parametrize("name", GIVEN)


@pytest.fixture(scope="module", name="trained")
def _trained():
    """Names -> models with drawn weights."""

    def make(name):
        experiment = tiny.with_conditions(tiny.experiment(), BESIDE[name])
        if name == "low-resolution":
            unet = replace(experiment.model, vector_entries=60)
            experiment = replace(experiment, model=unet)
        if name == "unclip":
            experiment = replace(experiment, model=replace(experiment.model, vector_dim=12))
        model, params, tokenizer = tiny.model(experiment)
        return runs.Trained(Path("run"), experiment, model, params, {"tokens": tokenizer}, (), 4)

    return {name: make(name) for name in GIVEN}


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "picture.png")
    Image.fromarray(photo[::-1]).save(tmp_path / "other.png")
    Image.fromarray(photo[:4, :4]).save(tmp_path / "small.png")
    Image.fromarray(photo[..., 0].astype(np.uint16) * 200).save(tmp_path / "depth.png")
    Image.fromarray(np.full((SIZE, SIZE), 9, np.uint8)).save(tmp_path / "flat.png")
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[2:5, 3:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return lambda name: str(tmp_path / name)


def tell(model, asked):
    return inputs_of(asked, view(model))


def given(files, name):
    return {field: files(file) for field, file in GIVEN[name].items()}


@every_task
def test_images_follow_the_caption_and_the_other_condition(files, trained, name):
    model, inputs = trained[name], given(files, name)
    asked = sampling.resolve(model, prompt=["a red block", "a blue block"], num=3, **inputs)
    for key, x in tell(model, asked).items():
        null = model.model.conditioner.null(3, 4, 4)[key]
        assert (x.shape, x.dtype) == (null.shape, null.dtype), key
    images = sampling.draw(model, asked.replace(batch_size=3)).images
    assert images.shape == (3, SIZE, SIZE, 3)
    assert np.any(images[0] != images[1])


@every_task
def test_a_model_that_is_given_a_caption_alone_says_what_else_it_takes(trained, name):
    flag = "--" + next(iter(GIVEN[name])).replace("_", "-")
    with pytest.raises(InputError, match=f"expected {flag} "):
        sampling.resolve(trained[name], prompt=["a red block"])


@every_task
@pytest.mark.parametrize("other", ["depth", "low-resolution"])
def test_what_is_for_another_model_is_refused(files, trained, name, other):
    if other != name:
        with pytest.raises(InputError, match="is not what this model takes: expected"):
            sampling.resolve(trained[name], **given(files, name), **given(files, other))


def test_depth_goes_from_the_farthest_to_the_nearest_whatever_its_numbers(files, trained):
    asked = sampling.resolve(trained["depth"], num=1, depth=files("depth.png"))
    depth = tell(trained["depth"], asked)["depth"]
    assert (depth.min(), depth.max()) == (-1.0, 1.0)
    read = np.asarray(Image.open(files("depth.png")), np.float64)
    np.save(files("other.npy"), 3.0 + read / 7.0)
    again = tell(trained["depth"], asked.replace(depth=files("other.npy")))["depth"]
    np.testing.assert_allclose(again, depth, atol=1e-5)
    with pytest.raises(InputError, match=r"expected .H, W., finite and not all the same"):
        sampling.resolve(trained["depth"], depth=files("flat.png"))


def test_noise_on_a_small_image_belongs_to_the_seed(files, trained):
    model = trained["low-resolution"]
    asked = sampling.resolve(model, num=2, seed=5, low_resolution=files("small.png"))
    assert asked.noise.noise_level == 20
    inputs = tell(model, asked)
    second = tell(model, asked.replace(num=1, seed=6))
    np.testing.assert_array_equal(
        inputs["low_resolution_noise"][1], second["low_resolution_noise"][0]
    )
    assert np.any(inputs["low_resolution_noise"][0] != inputs["low_resolution_noise"][1])


def drawn(model, asked, generate):
    """The images of a request, by what was compiled before."""
    return np.concatenate(list(sampling.draw_in_turn(model, asked, generate=generate)))


def test_an_image_to_vary_is_followed_with_or_without_a_prompt(files, trained):
    model = trained["unclip"]
    asked = sampling.resolve(model, num=1, image=files("picture.png"))
    assert (asked.noise.noise_level, asked.prompts.prompt) == (0, ())
    generate = sampling.compiled(model, asked)
    plain = drawn(model, asked, generate)
    for change in (
        {"image": files("other.png")},
        {"prompt": ("a red",)},
        {"negative_prompt": ("a blue",)},
        {"noise_level": 40},
    ):
        assert np.any(drawn(model, asked.replace(**change), generate) != plain), change


def test_image_variations_are_given_an_image_alone(files):
    encoder = config.CLIPImage(channels=8, layers=1, num_heads=2, dim=6, patch=4, size=8)
    experiment = tiny.experiment(conditions=(encoder,))
    built = experiment.build()
    params = {**tiny.drawn(built.init), "first_stage": tiny.drawn(built.first_stage.init)}
    model = runs.Trained(Path("run"), experiment, built, params, {}, (), 4)
    for inputs, said in (
        ({}, "expected --image P, an image to vary"),
        ({"prompt": ["a red"]}, "--prompt 'a red' given to a model of images"),
        ({"image": files("none.png")}, "--image '.*none.png' does not exist"),
        ({"image": files("picture.png"), "noise_level": 3}, "--noise-level is 3: leave it out"),
    ):
        with pytest.raises(InputError, match=said):
            sampling.resolve(model, num=1, **inputs)
    asked = sampling.resolve(model, num=1, image=files("picture.png"))
    other, generate = asked.replace(image=files("other.png")), sampling.compiled(model, asked)
    assert np.any(drawn(model, asked, generate) != drawn(model, other, generate))


def test_prompts_are_composed_with_an_image_to_vary(files, trained):
    """Weighted by 1 and 0, the first alone counts."""
    model, inputs = trained["unclip"], {"image": files("picture.png")}
    weighted = {"compose": ["a red", "a blue"], "compose_weights": [1.0, 0.0]}
    composed = sampling.draw(model, sampling.resolve(model, num=1, **inputs, **weighted)).images
    alone = sampling.draw(model, sampling.resolve(model, num=1, **inputs, prompt=["a red"])).images
    np.testing.assert_allclose(composed.astype(int), alone.astype(int), atol=1)


@pytest.mark.parametrize(
    ("name", "level", "said"),
    [
        ("low-resolution", 50, "--noise-level is 50: expected 0 to 49"),
        ("unclip", 50, "--noise-level is 50: expected 0 to 49"),
        ("depth", 3, "--noise-level is 3: leave it out"),
    ],
)
def test_levels_of_noise_that_cannot_be(files, trained, name, level, said):
    with pytest.raises(InputError, match=said):
        sampling.resolve(trained[name], noise_level=level, **given(files, name))


def test_the_guided_output_ignores_the_caption_alone(files, trained):
    """Guidance 0 is the output without a caption, which still follows the image."""
    model = trained["depth"]
    asked = sampling.resolve(model, num=1, guidance=0.0, depth=files("depth.png"), prompt=["a red"])
    images = sampling.draw(model, asked).images
    np.testing.assert_array_equal(
        images, sampling.draw(model, asked.replace(prompt=("a blue",))).images
    )
    Image.open(files("depth.png")).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(
        files("flipped.png")
    )
    flipped = sampling.draw(model, asked.replace(depth=files("flipped.png"))).images
    assert np.any(images != flipped)


def test_depth_goes_with_an_image_to_start_from(files, trained):
    model = trained["depth"]
    inverted = sampling.resolve(
        model, depth=files("depth.png"), init_image=files("picture.png"), invert=True
    )
    assert sampling.draw(model, inverted).latents.shape == (1, 4, 4, 2)


def test_inpainting_keeps_what_is_not_hidden(files, trained):
    model = trained["inpainting"]
    asked = sampling.resolve(model, num=1, prompt=["a red block"], **given(files, "inpainting"))
    (image,) = sampling.draw(model, asked.replace(batch_size=1)).images
    before = np.asarray(Image.open(files("picture.png")))
    hidden = np.asarray(Image.open(files("mask.png"))) > 0
    np.testing.assert_array_equal(image[~hidden], before[~hidden])
    assert np.any(image[hidden] != before[hidden])
