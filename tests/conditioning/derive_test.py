"""What conditions are made of stays with its image, through crops and flips."""

import json

import numpy as np
import pytest
from PIL import Image

from ldm_jax import config
from ldm_jax.data import degradation, pipeline
from ldm_jax.errors import InputError

SIZE = 16
COUNT = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images wider than they are high, with one black block each, in a box and in a map."""
    root = tmp_path_factory.mktemp("images")
    rows = []
    for i in range(COUNT):
        image, classes = np.full((SIZE, 24, 3), 250, np.uint8), np.zeros((SIZE, 24), np.uint8)
        top, left, height, width = 2 + i, 3 + i, 4, 6 + i % 3
        image[top : top + height, left : left + width] = 0
        classes[top : top + height, left : left + width] = 1 + i % 2
        classes[0, 0] = 255
        Image.fromarray(image).save(root / f"{i}.png")
        Image.fromarray(classes).save(root / f"{i}-map.png")
        box = [left / 24, top / SIZE, width / 24, height / SIZE, "dog" if i % 2 else "cat"]
        rows.append({"file_name": f"{i}.png", "boxes": [box], "segmentation": f"{i}-map.png"})
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def read(folder, condition, key, **changes):
    """Some batches of images that are cropped and mirrored."""
    settings = {"image_size": SIZE, "batch_size": 8, "crop": "random", "flip": True} | changes
    data = config.Data(path=str(folder), **settings)
    source, info = pipeline.open_source(data)
    derive = condition.derive(1)
    batches = pipeline.batches(data, source, seed=0, keys=(key,), derive=derive)
    return [next(batches) for _ in range(4)], info


def is_black(image):
    return image[..., 0] < 0


def test_boxes_hold_what_is_in_them_wherever_the_crop_is(folder):
    batches, info = read(folder, config.Layout(num_classes=2, max_objects=3), "boxes")
    assert info.object_names == ("cat", "dog")
    seen = 0
    for batch in batches:
        assert batch["boxes"].shape == (8, 3, 5)
        for image, boxes in zip(batch["image"], batch["boxes"], strict=True):
            found = np.zeros((SIZE, SIZE), bool)
            for x, y, width, height, kind in boxes[boxes[:, 4] >= 0]:
                left, top, right, bottom = np.rint(
                    np.array([x, y, x + width, y + height]) * SIZE
                ).astype(int)
                found[top:bottom, left:right] = True
                seen += kind == 1
            np.testing.assert_array_equal(found, is_black(image))
    assert seen > 4


def test_maps_are_moved_along_with_their_images(folder):
    batches, _ = read(folder, config.SemanticMap(num_classes=3), "segmentation")
    for batch in batches:
        maps = batch["segmentation"]
        assert maps.dtype == np.int32
        assert set(np.unique(maps)) <= {0, 1, 2, 3}  # 3: without a class, 255 in the file
        np.testing.assert_array_equal((maps == 1) | (maps == 2), is_black(batch["image"]))
    assert any(np.any(batch["segmentation"] == 3) for batch in batches)


@pytest.mark.parametrize("factor", [1, 2])
def test_depth_is_moved_along_and_stretched_and_as_large_as_the_latents(depths, factor):
    """Two planes, the near one where the image is black: 1 there, -1 elsewhere."""
    data = {"image_size": SIZE, "batch_size": 8, "crop": "random", "flip": True}
    source, _ = pipeline.open_source(config.Data(path=str(depths), **data))
    derive = config.Depth().derive(factor)
    settings = config.Data(path=str(depths), **data)
    batch = next(pipeline.batches(settings, source, seed=0, keys=("depth",), derive=derive))
    assert batch["depth"].shape == (8, SIZE // factor, SIZE // factor, 1)
    assert batch["depth"].dtype == np.float32
    for image, depth in zip(batch["image"], batch["depth"], strict=True):
        np.testing.assert_allclose([depth.min(), depth.max()], [-1, 1])
        black = is_black(image)
        if factor == 1:
            np.testing.assert_array_equal(depth[..., 0] > 0, black)
        else:  # where all four pixels, or none, are near
            count = black.reshape(8, 2, 8, 2).sum(axis=(1, 3))
            assert (depth[count == 4] > 0).all() and (depth[count == 0] < 0).all()


@pytest.fixture(scope="module")
def depths(folder, tmp_path_factory):
    """The same images with maps of depth, some of 16 bits, some numbers."""
    root = tmp_path_factory.mktemp("depths")
    rows = []
    for i in range(COUNT):
        image = Image.open(folder / f"{i}.png")
        near = np.where(np.asarray(image)[..., 0] == 0, 900 + i, 300).astype(np.uint16)
        image.save(root / f"{i}.png")
        name = f"{i}-depth.{'png' if i % 2 else 'npy'}"
        Image.fromarray(near).save(root / name) if i % 2 else np.save(root / name, near / 7.0)
        rows.append({"file_name": f"{i}.png", "depth": name})
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def test_low_resolution_images_are_of_what_is_visible(folder):
    (batch, *_), _ = read(folder, config.LowResolution(factor=4), "low_resolution")
    image = np.rint((batch["image"] + 1) * 127.5).astype(np.uint8)
    small = np.rint((batch["low_resolution"] + 1) * 127.5).astype(np.uint8)
    for one, other in zip(image, small, strict=True):
        np.testing.assert_array_equal(degradation.bicubic(one, 4), other)


@pytest.mark.parametrize(
    ("condition", "key"),
    [(config.LowResolution(degradation="bsr"), "low_resolution"), (config.Inpainting(), "mask")],
)
def test_what_is_drawn_belongs_to_the_example_and_differs_between_them(folder, condition, key):
    (one, *_), _ = read(folder, condition, key)
    (same, *_), _ = read(folder, condition, key, threads=1)
    np.testing.assert_array_equal(one[key], same[key])
    assert len(np.unique(one[key], axis=0)) == 8


def test_a_map_of_more_classes_than_the_model_has_is_refused(folder):
    with pytest.raises(InputError, match=r"map of .*png has class 2: expected 0 to 1"):
        read(folder, config.SemanticMap(num_classes=2), "segmentation")


def test_missing_boxes_and_maps_are_errors(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    for condition, key in (
        (config.Layout(num_classes=1), "boxes"),
        (config.SemanticMap(), "segmentation"),
    ):
        with pytest.raises(InputError, match=f"has no {key}: write a metadata.jsonl"):
            read(tmp_path, condition, key, batch_size=1)


@pytest.mark.parametrize("box", [[0, 0, 1, 1], [0, 0, 30, 1, 0], [0, 0, 0, 1, 0], "left"])
def test_boxes_that_are_none_are_refused(tmp_path, box):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    row = {"file_name": "a.png", "boxes": [box]}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError, match="line 1 has boxes that are not"):
        read(tmp_path, config.Layout(num_classes=1), "boxes", batch_size=1)


def test_neighbours_are_the_nearest_others(folder, tmp_path):
    rows = np.random.default_rng(0).normal(size=(COUNT, 4)).astype(np.float32)
    rows[1::2] = rows[::2] + 0.01  # pairs
    np.save(tmp_path / "rows.npy", rows)
    condition = config.Retrieval(dim=4, neighbours=2, embeddings=str(tmp_path / "rows.npy"))
    make = condition.derive(1)["neighbours"]
    found = make({"index": 4, "name": "4.png"}, np.random.default_rng(0))
    assert found.shape == (2, 4)
    np.testing.assert_array_equal(found[0], rows[5])
    (batch, *_), _ = read(folder, condition, "neighbours")
    assert batch["neighbours"].shape == (8, 2, 4)
    with pytest.raises(InputError, match="has 8 rows: expected one for each image"):
        make({"index": 8, "name": "8.png"}, None)


def test_shapes_come_with_boxes_and_maps():
    shapes = config.Shapes(num_train=8, num_test=2)
    condition = config.Layout(num_classes=5, max_objects=3)
    (batch, *_), info = read("shapes", condition, "boxes", shapes=shapes, crop="center")
    assert info.object_names == ("circle", "square", "triangle", "star", "cross")
    assert np.all(batch["boxes"][:, 0, 4] >= 0)
    (colors, *_), _ = read(
        "shapes", config.Layout(num_classes=8), "boxes", shapes=shapes, object_label="color"
    )
    assert colors["boxes"][..., 4].max() > 4
    with pytest.raises(InputError, match="choose from shape, color, size, position"):
        read("shapes", condition, "boxes", shapes=shapes, object_label="colour")
