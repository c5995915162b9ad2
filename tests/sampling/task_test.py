"""What a request may tell a model, and what of it reaches the model."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldm_jax import config, runs, sampling
from ldm_jax.conditioning.label import class_of
from ldm_jax.conditioning.layout import Boxes
from ldm_jax.errors import InputError
from ldm_jax.runs.names import class_names_of
from ldm_jax.sampling.drawing import inputs_of
from ldm_jax.sampling.view import view
from tests.support import tiny

SIZE = tiny.SIZE
CONDITIONS = {
    "layout": config.Layout(
        num_classes=2, max_objects=3, vocab_size=27, dim=8, layers=1, num_heads=2, head_dim=4
    ),
    "semantic": config.SemanticMap(num_classes=4, stages=1),
    "low-resolution": config.LowResolution(factor=2),
    "inpainting": config.Inpainting(),
    "retrieval": config.Retrieval(dim=5),
}


def trained(name, run=Path("run")):
    experiment = tiny.experiment(conditions=(CONDITIONS[name],) if name in CONDITIONS else ())
    return runs.Trained(run, experiment, experiment.build(), {}, {}, (), 4)


def with_params(described):
    model = described.model
    params = {**tiny.drawn(model.init), "first_stage": tiny.drawn(model.first_stage.init)}
    return described._replace(params=params)


@pytest.fixture
def files(tmp_path):
    """Files that suit the models above, by their flags, and some that do not."""
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "picture.png")
    Image.fromarray(photo[:4, :4]).save(tmp_path / "small.png")
    Image.fromarray(rng.integers(0, 4, (SIZE, SIZE), np.uint8)).save(tmp_path / "map.png")
    Image.fromarray(np.full((SIZE, SIZE), 7, np.uint8)).save(tmp_path / "classes.png")
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[2:5, 3:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (tmp_path / "boxes.json").write_text(json.dumps([[0, 0, 0.5, 0.5, 1]]))
    (tmp_path / "two.json").write_text(
        json.dumps([[[0, 0, 0.5, 0.5, "cat"]], [[0, 0, 1, 1, "dog"], [0.5, 0, 0.5, 1, 0]]])
    )
    (tmp_path / "many.json").write_text(json.dumps([[0, 0, 0.5, 0.5, 1]] * 4))
    (tmp_path / "class.json").write_text(json.dumps([[0, 0, 0.5, 0.5, "bird"]]))
    (tmp_path / "objects.txt").write_text("cat\ndog\n")
    np.save(tmp_path / "near.npy", rng.normal(size=(3, 5)).astype(np.float32))
    np.save(tmp_path / "one.npy", np.ones((1, 5), np.float32))
    np.save(tmp_path / "wide.npy", rng.normal(size=(3, 6)).astype(np.float32))
    return lambda name: str(tmp_path / name)


GIVEN = {
    "layout": {"boxes": "boxes.json"},
    "semantic": {"segmentation": "map.png"},
    "low-resolution": {"low_resolution": "small.png"},
    "inpainting": {"init_image": "picture.png", "mask": "mask.png"},
    "retrieval": {"neighbours": "near.npy"},
}
every_task = pytest.mark.parametrize("name", GIVEN)


def tell(model, asked):
    return inputs_of(asked, view(model))


def given(files, name):
    return {field: files(file) for field, file in GIVEN[name].items()}


@every_task
def test_conditioning_inputs_reach_the_conditioner_for_every_image(files, name):
    model = trained(name)
    conditioning = tell(model, sampling.resolve(model, num=3, **given(files, name)))
    assert conditioning.keys() == set(model.model.conditioner.keys)
    null = model.model.conditioner.null(3, 4, 4)
    for key, x in conditioning.items():
        assert x.dtype == null[key].dtype
        if name != "retrieval":  # of any number of neighbours
            assert x.shape == null[key].shape


@every_task
def test_a_model_that_is_given_nothing_says_what_it_takes(name):
    flag = "--" + next(iter(GIVEN[name])).replace("_", "-")
    other = "" if name == "retrieval" else ".*--from-data N"
    with pytest.raises(InputError, match=f"expected {flag} {other}"):
        sampling.resolve(trained(name))


@every_task
@pytest.mark.parametrize("other", [*GIVEN, "unconditional"])
def test_what_is_for_another_model_is_refused(files, name, other):
    if other == name or name == "inpainting":  # any model can start from an image
        return
    with pytest.raises(InputError, match="is not what this model takes: expected"):
        sampling.resolve(
            trained(other), **(given(files, other) if other in GIVEN else {}), **given(files, name)
        )


@pytest.mark.parametrize(
    ("name", "conditioning", "said"),
    [
        ("semantic", {"segmentation": "classes.png"}, "has class 7: expected 0 to 3"),
        ("semantic", {"segmentation": "picture.png"}, "colours"),
        ("semantic", {"segmentation": "none.png"}, "does not exist"),
        (
            "low-resolution",
            {"low_resolution": "picture.png"},
            "an image of 4 x 4 pixels; or --size 16 16",
        ),
        ("layout", {"boxes": "many.json"}, "has 4 boxes: expected at most 3"),
        ("layout", {"boxes": "class.json"}, "class 'bird': expected 0 to 1, or one of cat, dog"),
        ("layout", {"boxes": "map.png"}, "expected a .json of boxes"),
        ("retrieval", {"neighbours": "wide.npy"}, r"expected floats \[N, 5\]"),
        (
            "retrieval",
            {"query": "near.npy", "neighbours": "one.npy"},
            "has 1 rows: expected at",
        ),
        ("retrieval", {"query": "wide.npy", "neighbours": "near.npy"}, r"--query .* floats \[N, 5"),
        ("retrieval", {"query": "near.npy"}, "expected --neighbours FILE.npy"),
        ("semantic", {"query": "near.npy", "segmentation": "map.png"}, "not what this model takes"),
        ("inpainting", {"init_image": "picture.png"}, "expected --init-image P and --mask P"),
    ],
)
def test_files_that_do_not_fit_the_model_are_refused(files, name, conditioning, said):
    conditioning = {field: files(file) for field, file in conditioning.items()}
    with pytest.raises(InputError, match=said) as caught:
        sampling.resolve(trained(name, Path(files(""))), **conditioning)
    assert "\n" not in str(caught.value)


def test_several_layouts_are_taken_in_turn_and_classes_may_be_named(files):
    model = trained("layout", Path(files("")))
    conditioning = tell(model, sampling.resolve(model, num=3, boxes=files("two.json")))["boxes"]
    assert conditioning[:, :, 4].tolist() == [[0, -1, -1], [1, 0, -1], [0, -1, -1]]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_classes_are_those_of_the_data_in_either_unicode_form(form, tmp_path):
    names = "cat", "caf\u00e9"
    (tmp_path / "classes.txt").write_text(unicodedata.normalize(form, "\n".join(names) + "\n"))
    assert class_names_of(tmp_path) == names
    word = unicodedata.normalize(form, names[1])
    assert class_of(word, names, 2) == 1
    run = view(trained("layout", tmp_path))._replace(object_names=names)
    assert Boxes(boxes="x")._class(word, run) == 1


def test_each_query_is_given_its_nearest_of_a_collection_in_several_files(files):
    model, rows = trained("retrieval"), np.load(files("near.npy"))
    k = model.experiment.conditions[0].neighbours
    collection = Path(files("collection"))
    collection.mkdir()
    np.save(collection / "a.npy", 2 * rows[:1])
    np.save(collection / "b.npy", np.concatenate([rows[1:], -rows]))
    np.save(collection / "query.npy", rows)  # named last: among the rows, too
    asked = sampling.resolve(model, num=4, neighbours=str(collection), query=files("near.npy"))
    conditioning = tell(model, asked)["neighbours"]
    assert conditioning.shape == (4, k, 5)
    np.testing.assert_array_equal(conditioning[3], conditioning[0])
    for i, row in enumerate(rows):
        direction = conditioning[i, :2] / np.linalg.norm(conditioning[i, :2], axis=1, keepdims=True)
        np.testing.assert_allclose(direction, [row / np.linalg.norm(row)] * 2, rtol=1e-6)


def test_a_size_has_to_suit_the_networks():
    for size in ((8,), (7, 8), (0, 8), (8, 9)):
        with pytest.raises(InputError, match=r"--size is .*multiples of 2"):
            sampling.resolve(trained("unconditional"), size=size)
    assert sampling.resolve(trained("unconditional"), size=(8, 12)).size.size == (8, 12)


def test_patches_are_refused_where_they_make_no_sense(files):
    with pytest.raises(InputError, match="--patch is 1"):
        sampling.resolve(trained("unconditional"), patch=1)
    with pytest.raises(InputError, match="boxes are of a whole image"):
        sampling.resolve(trained("layout"), patch=4, **given(files, "layout"))


def test_inpainting_keeps_what_is_not_hidden_and_changes_the_rest(files):
    model = with_params(trained("inpainting"))
    params = {
        **tiny.drawn(model.model.init),
        "first_stage": tiny.drawn(model.model.first_stage.init),
    }
    model = model._replace(params=params)
    asked = sampling.resolve(model, num=2, batch_size=2, steps=2, **given(files, "inpainting"))
    images = sampling.draw(model, asked).images
    before = np.asarray(Image.open(files("picture.png")))
    hidden = np.asarray(Image.open(files("mask.png"))) > 0
    for image in images:
        np.testing.assert_array_equal(image[~hidden], before[~hidden])
    assert np.mean(images[0][hidden] != images[1][hidden]) > 0.3  # each by its own seed


def test_images_of_another_size_by_patches(files):
    model = trained("unconditional")
    params = {
        **tiny.drawn(model.model.init),
        "first_stage": tiny.drawn(model.model.first_stage.init),
    }
    model = model._replace(params=params)
    asked = sampling.resolve(model, num=1, batch_size=1, steps=2, size=(12, 20))
    whole = sampling.draw(model, asked).images
    assert whole.shape == (1, 12, 20, 3)
    cut = sampling.draw(model, asked.replace(patch=4)).images
    assert cut.shape == whole.shape
    assert np.any(cut != whole)
