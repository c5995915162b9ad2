from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from ldm_jax.data import drawing
from ldm_jax.data.drawing import Object, Scene
from ldm_jax.errors import InputError
from ldm_jax.metrics.caption_accuracy import (
    UNKNOWN,
    caption_scores,
    matches,
    read,
)
from tests.support.scenes import draw


def drawn(count, size, seed=0, **kwargs):
    """Random scenes and their images."""
    rng = np.random.default_rng(seed)
    scenes = [drawing.random_scene(rng, **kwargs) for _ in range(count)]
    return scenes, [draw(s, size, drawing.random_offsets(rng, s)) for s in scenes]


def accuracy(scenes, images):
    return caption_scores(images, [drawing.caption(scene) for scene in scenes])["caption"]


def degrade(image, rng, blur=0.5, noise=6.0):
    """Blurred by `blur` pixels, with noise of standard deviation `noise` (of 255)."""
    soft = ndimage.gaussian_filter(image.astype(float), (blur, blur, 0))
    return np.clip(np.round(soft + rng.normal(0, noise, soft.shape)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [24, 32, 48, 64, 100])
def test_drawings_show_what_their_captions_say(size):
    assert accuracy(*drawn(100 if size in (24, 48, 100) else 250, size)) >= 0.99


@pytest.mark.parametrize("size", [32, 64])
def test_crowded_drawings_can_be_read(size):
    assert accuracy(*drawn(20, size, min_objects=5, max_objects=9)) >= 0.95


@pytest.mark.parametrize("size", [32, 64])
def test_mild_blur_and_noise_do_no_harm(size):
    rng = np.random.default_rng(1)
    scenes, images = drawn(150, size, held_out=True)
    assert accuracy(scenes, [degrade(image, rng) for image in images]) >= 0.95


@pytest.mark.parametrize("size", [32, 64])
def test_a_shift_of_a_pixel_and_paler_colors_do_no_harm(size):
    scenes, images = drawn(60, size)
    shifted = [np.roll(image, (1, -1), (0, 1)) for image in images]
    pale = [(240 - 0.85 * (240.0 - image)).astype(np.uint8) for image in images]
    assert accuracy(scenes, shifted) >= 0.95
    assert accuracy(scenes, pale) >= 0.95


def others(table, name):
    return [other for other in table if other != name]


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("attribute", ["shape", "color", "size", "position"])
def test_one_wrong_attribute_is_rejected(attribute, size):
    table = getattr(drawing, f"{attribute.upper()}S")
    rng = np.random.default_rng(2)
    for scene, image in zip(*drawn(25, size, seed=3), strict=True):
        first, *rest = scene.objects
        clean, soft = read(image), read(degrade(image, rng))
        for value in others(table, getattr(first, attribute)):
            if attribute == "position" and value in [thing.position for thing in rest]:
                continue
            wrong = Scene((replace(first, **{attribute: value}), *rest))
            assert not matches(wrong, clean)
            assert not matches(wrong, soft)


def test_a_missing_object_is_rejected():
    for scene, image in zip(*drawn(25, 32, max_objects=2), strict=True):
        free = others(drawing.POSITIONS, scene.objects[0].position)[-1]
        if free not in [thing.position for thing in scene.objects]:
            more = Scene((*scene.objects, Object("star", "pink", "small", free)))
            assert not matches(more, read(image))


def test_an_object_too_many_is_rejected():
    for scene, image in zip(*drawn(25, 32, min_objects=2), strict=True):
        assert not matches(Scene(scene.objects[1:]), read(image))


def test_the_order_of_the_objects_does_not_matter():
    scenes, images = drawn(10, 32, min_objects=3)
    assert accuracy([Scene(scene.objects[::-1]) for scene in scenes], images) == 1


def test_an_empty_image_shows_nothing():
    empty = np.full((32, 32, 3), drawing.BACKGROUND, np.uint8)
    assert read(empty) == ()
    assert read(degrade(empty, np.random.default_rng(0))) == ()


def test_noise_and_flat_color_match_no_caption():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (32, 32, 3)).astype(np.uint8) for _ in range(5)]
    images += [np.full((32, 32, 3), color, np.uint8) for color in drawing.COLORS.values()]
    scenes, _ = drawn(len(images), 32)
    assert accuracy(scenes, images) == 0


def ring(x, y):
    return (np.hypot(x, y) <= 1) & (np.hypot(x, y) >= 0.5)


def half_circle(x, y):
    return (np.hypot(x, y) <= 1) & (y < 0)


def bar(x, y):
    return (abs(x) <= 1) & (abs(y) <= 0.5)


@pytest.mark.parametrize("outline", [ring, half_circle, bar])
@pytest.mark.parametrize("size", [32, 64])
def test_a_shape_without_a_name_is_unknown(outline, size, monkeypatch):
    read(np.full((size, size, 3), drawing.BACKGROUND, np.uint8))
    with monkeypatch.context() as patch:
        patch.setitem(drawing.SHAPES, "circle", drawing.Outline(outline, 1, 1))
        images = [
            draw(Scene((Object("circle", color, "large", "center"),)), size)
            for color in drawing.COLORS
        ]
    for color, image in zip(drawing.COLORS, images, strict=True):
        (thing,) = read(image)
        assert (thing.shape, thing.color) == (UNKNOWN, color)


def test_a_color_without_a_name_is_unknown(monkeypatch):
    scene = Scene((Object("circle", "red", "large", "center"),))
    with monkeypatch.context() as patch:
        patch.setitem(drawing.COLORS, "red", (140, 140, 140))  # gray
        image = draw(scene, 32)
    assert read(image) == (Object("circle", UNKNOWN, "large", "center"),)


def test_an_object_between_two_positions_matches_neither():
    for shape in drawing.SHAPES:
        scene = Scene((Object(shape, "blue", "large", "center"),))
        objects = read(draw(scene, 64, np.array([[0.0, 0.1625]])))
        for position in ("center", "right"):
            assert not matches(Scene((Object(shape, "blue", "large", position),)), objects)


def test_scores_tell_which_attribute_is_wrong():
    image = draw(drawing.parse("a large red circle at the top left"), 32)
    texts = {
        "shape": "a large red star at the top left",
        "color": "a large blue circle at the top left",
        "size": "a small red circle at the top left",
        "position": "a large red circle at the bottom",
    }
    for wrong, text in texts.items():
        expected = dict.fromkeys(("count", "shape", "color", "size", "position"), 1.0)
        assert caption_scores([image], [text]) == {**expected, wrong: 0.0, "caption": 0.0}


def test_scores_pair_objects_so_that_most_attributes_agree():
    image = draw(
        drawing.parse("a large red circle at the top left and a small blue star at the right"), 32
    )
    text = "a small blue star at the top left and a large red circle at the right"  # exchanged
    scores = caption_scores([image], [text])
    assert scores["shape"] == scores["color"] == scores["size"] == 1
    assert scores["position"] == scores["caption"] == 0


def test_a_missing_object_has_no_right_attribute():
    image = draw(drawing.parse("a large red circle at the top left"), 32)
    text = "a large red circle at the top left and a small blue star at the right"
    scores = caption_scores([image], [text])
    assert scores == {
        "caption": 0.0, "count": 0.0, "shape": 0.5, "color": 0.5, "size": 0.5, "position": 0.5
    }  # fmt: skip


def test_reading_leaves_the_image_alone_and_always_says_the_same():
    _, (image,) = drawn(1, 100)
    before = image.copy()
    assert read(image) == read(image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((16, 16, 3), np.uint8),
        np.zeros((32, 48, 3), np.uint8),
        np.zeros((32, 32), np.uint8),
        np.zeros((32, 32, 3), np.float32),
    ],
)
def test_images_of_another_kind_are_refused(image):
    with pytest.raises(InputError, match=r"expected uint8 \[H, H, 3\]"):
        read(image)


def test_unequal_numbers_are_refused():
    _, images = drawn(2, 32)
    with pytest.raises(InputError, match="2 images and 1 captions"):
        caption_scores(images, ["a large red circle at the top"])
    with pytest.raises(InputError, match="at least one"):
        caption_scores([], [])
