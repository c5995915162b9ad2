"""A folder of images is understood the way it was meant, or refused with a remedy."""

import json

import pytest
from PIL import Image

from ldm_jax.data.folder import open_folder
from ldm_jax.errors import InputError


def write(path, color=(0, 0, 0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), color).save(path)
    return path


def write_metadata(folder, *rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


def opened(path, split="train", caption="text", label="label"):
    return open_folder(str(path), split=split, caption=caption, label=label)


def names(folder, root):
    return [record["image"].removeprefix(f"{root}/") for record in folder]


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        opened(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_images_are_found_in_sorted_order_whatever_their_extension(tmp_path):
    for name in ("c.PNG", "a.jpg", "sub/b.webp", "d.JPEG", "e.gif", "f.bmp", "g.tiff", "h.Tif"):
        write(tmp_path / name)
    found = names(opened(tmp_path), tmp_path)
    assert found == ["a.jpg", "c.PNG", "d.JPEG", "e.gif", "f.bmp", "g.tiff", "h.Tif", "sub/b.webp"]


def test_hidden_files_and_junk_are_no_images(tmp_path):
    for name in ("a.png", ".b.png", "._a.png", ".cache/c.png", "__MACOSX/d.png"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    assert names(opened(tmp_path), tmp_path) == ["a.png"]


def test_a_link_that_leads_back_is_followed_once(tmp_path):
    write(tmp_path / "a.png")
    (tmp_path / "again").symlink_to(tmp_path)
    assert len(opened(tmp_path)) == 1


def test_sub_folders_are_classes(tmp_path):
    for name in ("dog/a.png", "cat/deep/b.png", "cat/a.png"):
        write(tmp_path / name)
    folder = opened(tmp_path)
    assert folder.class_names == ("cat", "dog")
    assert [record["label"] for record in folder] == [0, 0, 1]


def test_one_image_outside_means_there_are_no_classes(tmp_path):
    for name in ("dog/a.png", "cat/a.png", "a.png"):
        write(tmp_path / name)
    folder = opened(tmp_path)
    assert folder.class_names == ()
    assert "no labels" in folder.absent["label"]


def test_a_folder_that_only_wraps_the_data_set_is_passed_through(tmp_path):
    for name in ("set/dog/a.png", "set/cat/a.png", "__MACOSX/set/._a.png"):
        write(tmp_path / name)
    (tmp_path / "README").write_text("about")
    assert opened(tmp_path).class_names == opened(tmp_path / "set").class_names == ("cat", "dog")


def test_a_single_class_is_not_a_wrapper(tmp_path):
    write(tmp_path / "cat/a.png")
    assert opened(tmp_path).class_names == ("cat",)


def test_of_split_folders_the_one_requested_is_read(tmp_path):
    for name in ("train/cat/a.png", "train/dog/b.png", "test/cat/c.png"):
        write(tmp_path / name)
    assert names(opened(tmp_path), tmp_path) == ["train/cat/a.png", "train/dog/b.png"]
    assert names(opened(tmp_path, split="test"), tmp_path) == ["test/cat/c.png"]
    assert "--data.split" in refusal(tmp_path, split="val")


def test_a_class_may_be_called_like_a_split(tmp_path):
    for name in ("train/a.png", "bus/a.png"):
        write(tmp_path / name)
    assert opened(tmp_path).class_names == ("bus", "train")


def test_captions_lie_next_to_the_images(tmp_path):
    for name, text in (("a", "a cat\n"), ("b", "  two\ndogs ")):
        write(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(text)
    assert [record["text"] for record in opened(tmp_path)] == ["a cat", "two dogs"]


def test_a_missing_caption_is_named(tmp_path):
    write(tmp_path / "a.png")
    write(tmp_path / "b.png")
    (tmp_path / "a.txt").write_text("a cat")
    folder = opened(tmp_path)
    assert "b.png" in folder.absent["text"]
    assert "text" not in folder[0]


def test_metadata_gives_captions_and_classes(tmp_path):
    write(tmp_path / "a.png")
    write(tmp_path / "more/b.png")
    write(tmp_path / "unlisted.png")
    write_metadata(
        tmp_path,
        {"file_name": "more/b.png", "prompt": "a dog", "kind": "dog"},
        {"file_name": "a.png", "prompt": ["a cat", "cat"], "kind": "cat"},
    )
    folder = opened(tmp_path, caption="prompt", label="kind")
    assert names(folder, tmp_path) == ["more/b.png", "a.png"]
    assert [record["text"] for record in folder] == ["a dog", ["a cat", "cat"]]
    assert [record["label"] for record in folder] == [1, 0]
    assert folder.class_names == ("cat", "dog")


def test_numbers_in_metadata_are_classes_already(tmp_path):
    write(tmp_path / "a.png")
    write_metadata(tmp_path, {"file_name": "a.png", "label": 2})
    folder = opened(tmp_path)
    assert folder[0]["label"] == 2
    assert folder.class_names == ("0", "1", "2")


def test_metadata_is_found_in_the_folder_or_in_the_one_it_holds(tmp_path):
    write(tmp_path / "outer/inner/a.png")
    write_metadata(tmp_path / "outer/inner", {"file_name": "a.png", "text": "a cat"})
    assert opened(tmp_path / "outer")[0] == opened(tmp_path / "outer/inner")[0]
    write_metadata(tmp_path / "outer", {"file_name": "inner/a.png", "text": "the cat"})
    assert opened(tmp_path / "outer")[0]["text"] == "the cat"


def test_a_field_that_metadata_lacks_is_named_with_those_it_has(tmp_path):
    write(tmp_path / "a.png")
    write_metadata(tmp_path, {"file_name": "a.png", "prompt": "a cat"})
    reason = opened(tmp_path).absent["text"]
    assert "line 1" in reason
    assert "prompt" in reason
    assert "--data.caption" in reason


def test_no_folder_no_images_and_an_archive_are_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "missing")
    assert ".webp" in refusal(tmp_path)
    (tmp_path / "a.zip").write_bytes(b"PK")
    assert "unpacked" in refusal(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{not json}", "not valid JSON"),
        ('{"text": "a cat"}', "file_name"),
        ("[1]", "file_name"),
        ('{"file_name": "missing.png"}', "missing.png"),
    ],
)
def test_a_bad_line_of_metadata_is_named(tmp_path, line, said):
    write(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png"}\n\n' + line + "\n")
    message = refusal(tmp_path)
    assert "line 3" in message
    assert said in message


def test_empty_metadata_and_negative_labels_are_refused(tmp_path):
    write(tmp_path / "a.png")
    write_metadata(tmp_path)
    assert "no lines" in refusal(tmp_path)
    write_metadata(tmp_path, {"file_name": "a.png", "label": -1})
    assert "-1" in refusal(tmp_path)
