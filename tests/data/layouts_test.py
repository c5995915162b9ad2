"""Layouts of kohya's scripts, of COCO and of pairs of folders are read as they are meant there."""

import json

import numpy as np
import pytest
from PIL import Image

from ldm_jax import config
from ldm_jax.data import pipeline
from ldm_jax.data.folder import list_images, open_folder
from ldm_jax.errors import InputError


def write(root, *names, size=(8, 8)):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("g"):
            Image.new("RGB", size).save(root / name)
        else:
            (root / name).write_text(name)


def opened(root, split="train", **options):
    return open_folder(str(root), split=split, caption="text", label="label", **options)


def refusal(root, **options):
    with pytest.raises(InputError) as caught:
        opened(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(folder, root):
    return [record["image"].removeprefix(f"{root}/") for record in folder]


# kohya


def test_a_folder_says_how_often_its_images_come_and_what_they_show(tmp_path):
    write(tmp_path, "3_black cat/a.png", "1_dog/more/b.png", "1_dog/more/b.txt", "c.png")
    folder = opened(tmp_path, repeated=True)
    assert names(folder, tmp_path) == ["1_dog/more/b.png"] + ["3_black cat/a.png"] * 3
    assert [record["text"] for record in folder] == ["1_dog/more/b.txt"] + ["black cat"] * 3
    assert folder.left_out == "1 outside of folders such as 10_cat (c.png)"
    assert not folder.class_names and "label" in folder.absent


def test_repeats_are_announced_and_trained_on(tmp_path, capsys):
    write(tmp_path, "3_cat/a.png", "1_dog/b.png")
    data = config.Data(path=str(tmp_path), image_size=8, batch_size=4, repeats=True)
    source, _ = pipeline.open_source(data)
    said = capsys.readouterr().out
    assert said.startswith("data: 4 images (2, repeated as 1_dog, 3_cat say), no classes, captions")
    tokenize = {"tokens": lambda text: np.array([len(text), text == "cat"])}
    batch = next(pipeline.batches(data, source, seed=0, keys=("tokens",), tokenize=tokenize))
    assert batch["tokens"].sum(0).tolist() == [12, 3]


def test_without_the_setting_the_folders_are_classes(tmp_path):
    write(tmp_path, "3_cat/a.png", "1_dog/b.png")
    folder = opened(tmp_path)
    assert folder.class_names == ("1_dog", "3_cat") and len(folder) == 2
    assert "--data.repeats" in folder.warnings[0]


def test_repeats_that_cannot_be_are_refused(tmp_path):
    write(tmp_path, "cat/a.png")
    assert "no images in folders such as 10_cat" in refusal(tmp_path, repeated=True)
    write(tmp_path, "20240101_trip/a.png")
    assert "with 20240101 repeats: expected at most" in refusal(tmp_path, repeated=True)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "cat/a.png"}')
    assert "has metadata.jsonl" in refusal(tmp_path, repeated=True)
    with pytest.raises(InputError, match="repeats is True for data"):
        pipeline.open_source(config.Data(path="shapes", image_size=8, repeats=True))


# COCO

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]


def coco(root, split="train2017", boxes=(), images=("1.jpg", "2.jpg"), captions=None):
    """Images of 8 x 4 pixels and their annotations; boxes are of the first image."""
    write(root, *(f"{split}/{name}" for name in images), size=(8, 4))
    listed = [
        {"id": i, "file_name": name, "width": 8, "height": 4} for i, name in enumerate(images)
    ]
    said = [
        {"image_id": i, "caption": f"{name}\n{k}"} for i, name in enumerate(images) for k in "ab"
    ]
    found = [{"id": i, "image_id": 0, **box} for i, box in enumerate(boxes)]
    (root / "annotations").mkdir(exist_ok=True)
    for kind, content in (
        ("captions", {"annotations": said if captions is None else captions}),
        ("instances", {"annotations": found, "categories": CATEGORIES}),
    ):
        text = json.dumps({"images": listed, **content})
        (root / f"annotations/{kind}_{split}.json").write_text(text)


def test_captions_and_boxes_of_coco(tmp_path):
    boxes = [
        {"bbox": [2, 1, 4, 2], "category_id": 3},
        {"bbox": [6, 0, 4, 4], "category_id": 18},  # reaches out of the image
        {"bbox": [0, 0, 8, 4], "category_id": 3, "iscrowd": 1},
        {"bbox": [1, 1, 0, 2], "category_id": 3},
    ]
    coco(tmp_path, boxes=boxes)
    coco(tmp_path, "val2017")
    folder = opened(tmp_path)
    assert names(folder, tmp_path) == ["train2017/1.jpg", "train2017/2.jpg"]
    assert folder[0]["text"] == ["1.jpg a", "1.jpg b"]
    assert folder.object_names == ("dog", "car")
    expected = [[0.25, 0.25, 0.5, 0.5, 1], [0.75, 0, 0.25, 1, 0]]
    np.testing.assert_allclose(folder[0]["boxes"], expected)
    assert folder[1]["boxes"].shape == (0, 5)
    for said in (
        "1 boxes of crowds",
        "1 boxes without area",
        "2 without annotations (val2017/1.jpg",
    ):
        assert said in folder.left_out
    assert "folders" not in folder.left_out
    assert names(opened(tmp_path, split="val"), tmp_path) == ["val2017/1.jpg", "val2017/2.jpg"]
    assert "of the split 'test' but of train, val" in refusal(tmp_path, split="test")


def test_annotated_images_that_are_not_there_are_counted(tmp_path):
    coco(tmp_path)
    (tmp_path / "train2017/1.jpg").unlink()
    folder = opened(tmp_path)
    assert len(folder) == 1
    assert "1 annotated images that are not there (1.jpg)" in folder.left_out
    (tmp_path / "train2017/2.jpg").rename(tmp_path / "train2017/3.jpg")
    assert "names none of the images" in refusal(tmp_path)


@pytest.mark.parametrize("box", [{"bbox": [0, 0], "category_id": 3}, {"bbox": [0, 0, 1, 1]}])
def test_annotations_that_are_none_are_refused_by_file(tmp_path, box):
    coco(tmp_path, boxes=[box])
    assert "annotations/instances_train2017.json' cannot be read" in refusal(tmp_path)


def test_other_files_of_these_names_are_warned_of(tmp_path):
    write(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "captions_test.json").write_text('{"1.jpg": "a cat"}')
    folder = opened(tmp_path)
    assert folder.class_names == ("cat", "dog")
    assert "captions_test.json" in folder.warnings[0]


def test_a_name_that_several_images_have_is_refused(tmp_path):
    coco(tmp_path)
    write(tmp_path, "copies/1.jpg")
    assert names(opened(tmp_path), tmp_path)[0] == "train2017/1.jpg"
    (tmp_path / "train2017").rename(tmp_path / "photos")
    assert "names 1.jpg, which is 2 times in" in refusal(tmp_path)


# Pairs of folders


def test_of_two_folders_one_has_the_hints_of_the_other(tmp_path):
    write(tmp_path, "source/a.jpg", "target/a.png", "target/a.txt", "source/b.png", "target/b.png")
    write(tmp_path, "target/b.caption", "target/alone.png")
    folder = opened(tmp_path)
    assert names(folder, tmp_path) == ["target/a.png", "target/b.png"]
    hints = [record["conditioning_image"].removeprefix(f"{tmp_path}/") for record in folder]
    assert hints == ["source/a.jpg", "source/b.png"]
    assert [record["text"] for record in folder] == ["target/a.txt", "target/b.caption"]
    assert folder.note == "of target/, with hints in source/"
    assert "1 without a hint of its name (target/alone.png)" in folder.left_out
    assert not folder.class_names and not folder.warnings
    assert list_images(tmp_path).images == ["target/a.png", "target/b.png"]


def test_pairs_need_no_captions(tmp_path):
    write(tmp_path, "images/deep/a.png", "conditioning_images/deep/a.png")
    folder = opened(tmp_path)
    assert folder[0]["conditioning_image"] == str(tmp_path / "conditioning_images/deep/a.png")
    assert "images/deep/a.png has no field 'text'" in folder.absent["text"]
