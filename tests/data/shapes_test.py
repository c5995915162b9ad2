import io
import itertools

import numpy as np
import pytest
from PIL import Image

from ldm_jax import config
from ldm_jax.data import drawing, shapes
from ldm_jax.data.drawing import Object, Scene
from ldm_jax.errors import InputError
from tests.support.scenes import draw, segment

EVERY_OBJECT = [
    Object(*attributes)
    for attributes in itertools.product(
        drawing.SHAPES, drawing.COLORS, drawing.SIZES, drawing.POSITIONS
    )
]


def scenes(count, seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    return [drawing.random_scene(rng, **kwargs) for _ in range(count)]


def test_a_caption_reads_as_promised():
    scene = Scene(
        (
            Object("circle", "red", "large", "top left"),
            Object("star", "blue", "small", "center"),
            Object("cross", "pink", "small", "bottom"),
        )
    )
    assert drawing.caption(scene) == (
        "a large red circle at the top left, a small blue star at the center "
        "and a small pink cross at the bottom"
    )


def test_parse_inverts_caption():
    for scene in scenes(200, max_objects=9):
        assert drawing.parse(drawing.caption(scene)) == scene


def test_parse_ignores_capitals_and_the_final_period():
    text = "A large red circle at the top left and a small blue star at the center."
    assert [o.color for o in drawing.parse(text).objects] == ["red", "blue"]


@pytest.mark.parametrize(
    ("text", "bad", "expected"),
    [
        ("a huge red circle at the top", "'huge'", "small or large"),
        ("a large mauve circle at the top", "'mauve'", "purple"),
        ("a large red blob at the top", "'blob'", "circle"),
        ("a large red circle at the summit", "'summit'", "top left"),
        ("a large red circle", "''", "at"),
        ("", "''", "a "),
        ("a large red circle at the top and a small red star at the top", "two objects", "one"),
    ],
)
def test_parse_names_what_is_wrong_and_what_is_expected(text, bad, expected):
    with pytest.raises(InputError) as error:
        drawing.parse(text)
    assert bad in str(error.value)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_about_one_combination_in_ten_is_held_out():
    part = np.mean([drawing.held_out(thing) for thing in EVERY_OBJECT])
    assert 0.07 < part < 0.13


def test_size_does_not_decide_what_is_held_out():
    by_rest = {}
    for thing in EVERY_OBJECT:
        key = (thing.shape, thing.color, thing.position)
        by_rest.setdefault(key, set()).add(drawing.held_out(thing))
    assert all(len(answers) == 1 for answers in by_rest.values())


def test_training_and_test_scenes_both_show_every_attribute():
    for held_out in (False, True):
        things = [o for o in EVERY_OBJECT if drawing.held_out(o) == held_out]
        assert {o.shape for o in things} == set(drawing.SHAPES)
        assert {o.color for o in things} == set(drawing.COLORS)
        assert {o.position for o in things} == set(drawing.POSITIONS)


def test_training_shows_every_color_of_every_shape_and_either_anywhere():
    things = [o for o in EVERY_OBJECT if not drawing.held_out(o)]
    for one, other in (("shape", "color"), ("shape", "position"), ("color", "position")):
        tables = [getattr(drawing, f"{name.upper()}S") for name in (one, other)]
        shown = {(getattr(o, one), getattr(o, other)) for o in things}
        assert shown == set(itertools.product(*tables))


@pytest.mark.parametrize("held_out", [False, True])
def test_scenes_hold_only_what_their_split_may_show(held_out):
    for scene in scenes(200, held_out=held_out):
        assert all(drawing.held_out(thing) == held_out for thing in scene.objects)


def test_scenes_have_as_many_objects_as_requested_at_different_positions():
    drawn = scenes(200, min_objects=2, max_objects=4)
    assert {len(scene.objects) for scene in drawn} == {2, 3, 4}
    assert all(len({o.position for o in s.objects}) == len(s.objects) for s in drawn)


@pytest.mark.parametrize("counts", [(0, 1), (3, 2), (1, 10)])
def test_impossible_numbers_of_objects_are_refused(counts):
    with pytest.raises(InputError, match="min_objects"):
        drawing.random_scene(np.random.default_rng(0), *counts)


def test_the_label_is_the_shape_named_first():
    scene = drawing.parse("a large red star at the top and a small blue circle at the left")
    assert list(drawing.SHAPES)[drawing.label(scene)] == "star"


@pytest.mark.parametrize("size", [24, 32, 64, 200])
def test_images_have_the_color_of_each_object_at_its_position(size):
    for scene in scenes(20, max_objects=9):
        image = draw(scene, size)
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8
        for thing in scene.objects:
            y, x = (int(c * size) for c in drawing.POSITIONS[thing.position])
            np.testing.assert_allclose(image[y, x], drawing.COLORS[thing.color], atol=15)
        np.testing.assert_array_equal(image[0, 0], drawing.BACKGROUND)


def test_an_image_is_what_a_finer_one_shows_from_afar():
    for scene in scenes(10):
        coarse, fine = draw(scene, 32), draw(scene, 128)
        reduced = fine.reshape(32, 4, 32, 4, 3).mean((1, 3))
        assert abs(coarse - reduced).mean() < 1


def test_neighbors_never_touch():
    things = [Object("circle", "red", "large", position) for position in drawing.POSITIONS]
    scene = Scene(tuple(things))
    rng = np.random.default_rng(0)
    for _ in range(20):
        box = drawing.boxes(scene, drawing.random_offsets(rng, scene))
        assert box.min() > 0
        assert box.max() < 1
        for a, b in itertools.combinations(box, 2):
            assert (a[:2] >= b[2:]).any() or (b[:2] >= a[2:]).any()


def test_boxes_and_segmentation_agree_with_the_image():
    rng = np.random.default_rng(0)
    size = 96
    for thing in EVERY_OBJECT[:: len(drawing.COLORS) + 1]:
        scene = Scene((thing,))
        offsets = drawing.random_offsets(rng, scene)
        drawn = (draw(scene, size, offsets) != drawing.BACKGROUND).any(-1)
        ys, xs = np.nonzero(drawn)
        seen = np.array([ys.min(), xs.min(), ys.max() + 1, xs.max() + 1]) / size
        np.testing.assert_allclose(drawing.boxes(scene, offsets)[0], seen, atol=1.5 / size)
        classes = segment(scene, size, offsets)
        assert set(np.unique(classes)) == {0, 1 + list(drawing.SHAPES).index(thing.shape)}
        assert not (classes.astype(bool) & ~drawn).any()


SMALL = config.Shapes(max_objects=2, num_train=60, num_test=20)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return shapes.builder(32, SMALL, tmp_path_factory.mktemp("tfds"))


def test_the_splits_have_the_numbers_of_examples_requested(prepared):
    assert len(prepared.as_data_source(split="train")) == 60
    assert len(prepared.as_data_source(split="test")) == 20


@pytest.mark.parametrize("split", ["train", "test"])
def test_examples_are_drawings_of_their_captions(prepared, split):
    for example in prepared.as_data_source(split=split):
        scene = drawing.parse(example["text"].decode())
        objects = example["objects"]
        assert all(drawing.held_out(o) == (split == "test") for o in scene.objects)
        assert example["label"] == drawing.label(scene) == objects["shape"][0]
        offsets = np.array(objects["bbox"])[:, :2] - drawing.boxes(scene)[:, :2]
        assert abs(offsets).max() < drawing.JITTER + 1e-6
        np.testing.assert_allclose(example["image"], draw(scene, 32, offsets), atol=1)
        classes = segment(scene, 32, offsets)
        assert (example["segmentation"][..., 0] != classes).mean() < 0.01
        for index, thing in enumerate(scene.objects):
            for name in ("shape", "color", "size", "position"):
                feature = prepared.info.features["objects"][name]
                assert feature.int2str(int(objects[name][index])) == getattr(thing, name)


def test_example_i_is_the_same_scene_at_every_resolution_and_in_every_amount():
    few = shapes.shapes_config(32, SMALL)
    many = shapes.shapes_config(64, config.Shapes(max_objects=2, num_train=5000))
    for index in range(10):
        assert (
            shapes.example(few, "train", index)["text"]
            == shapes.example(many, "train", index)["text"]
        )


def test_examples_depend_on_nothing_but_their_number(prepared):
    settings = shapes.shapes_config(32, SMALL)
    source = prepared.as_data_source(split="train")
    for index in (0, 7, 59):
        example = shapes.example(settings, "train", index)
        assert source[index]["text"].decode() == example["text"]
        np.testing.assert_array_equal(source[index]["image"], Image.open(example["image"]))


def test_examples_differ():
    settings = shapes.shapes_config(32, SMALL)
    texts = {shapes.example(settings, "train", index)["text"] for index in range(100)}
    assert len(texts) > 90


def test_different_settings_never_share_a_directory(tmp_path):
    names = {
        shapes.shapes_config(size, config.Shapes(*numbers)).name
        for size in (32, 64)
        for numbers in (
            (1, 3, 20, 10),
            (1, 2, 20, 10),
            (2, 3, 20, 10),
            (1, 3, 30, 10),
            (1, 3, 2, 1),
        )
    }
    assert len(names) == 10
    built = shapes.builder(16, config.Shapes(num_train=2, num_test=1), tmp_path)
    assert built.data_dir.endswith("/1.0.0")


def test_preparing_says_nothing_and_happens_once(tmp_path, capfd, monkeypatch):
    numbers = config.Shapes(num_train=3, num_test=2)
    shapes.builder(16, numbers, tmp_path)
    monkeypatch.setattr(shapes, "example", None)  # drawing again would fail
    again = shapes.builder(16, numbers, tmp_path)
    assert len(again.as_data_source(split="train")) == 3
    assert capfd.readouterr() == ("", "")


def test_a_second_process_that_finishes_first_does_no_harm(tmp_path, monkeypatch):
    numbers = config.Shapes(num_train=3, num_test=2)
    draw_example, calls = shapes.example, []

    def race(*args):
        calls.append(args)
        if len(calls) == 1:  # in the middle of preparing, another prepares all of it
            shapes.builder(16, numbers, tmp_path)
        return draw_example(*args)

    monkeypatch.setattr(shapes, "example", race)
    built = shapes.builder(16, numbers, tmp_path)
    assert len(calls) == 2 * (3 + 2)
    assert len(built.as_data_source(split="test")) == 2


def interrupt(*args):
    raise KeyboardInterrupt


def test_an_interrupted_preparation_is_made_good_later(tmp_path, monkeypatch):
    numbers = config.Shapes(num_train=3, num_test=2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shapes, "example", interrupt)
        shapes.builder(16, numbers, tmp_path)
    assert len(shapes.builder(16, numbers, tmp_path).as_data_source(split="train")) == 3


def test_the_environment_says_where_data_sets_lie(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    built = shapes.builder(16, config.Shapes(num_train=2, num_test=1))
    assert built.data_dir.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("size", "numbers", "name"),
    [
        (8, config.Shapes(), "data.image_size"),
        (32, config.Shapes(num_train=0), "shapes.num_train"),
        (32, config.Shapes(num_test=-1), "shapes.num_test"),
        (32, config.Shapes(max_objects=12), "shapes.max_objects"),
    ],
)
def test_impossible_settings_are_refused_by_name(size, numbers, name, tmp_path):
    with pytest.raises(InputError, match=name):
        shapes.builder(size, numbers, tmp_path)


def test_images_are_lossless(prepared):
    file = shapes.example(shapes.shapes_config(32, SMALL), "train", 0)["image"]
    assert isinstance(file, io.BytesIO)
    assert Image.open(file).format == "PNG"
