"""A folder of images is understood the way it was meant, or refused with a remedy."""

import json
import os
import shutil

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
    assert f"{tmp_path}/a.png lies outside of the class folders" in folder.absent["label"]


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
    assert "b.png has no caption:" in folder.absent["text"]
    assert "text" not in folder[0]
    write(tmp_path / "c.png")
    assert "b.png has no caption (and 1 other of 3):" in opened(tmp_path).absent["text"]


def test_endings_of_captions_may_be_capitals_or_kohyas(tmp_path):
    for name in ("a.PNG", "b.png"):
        write(tmp_path / name)
    (tmp_path / "a.TXT").write_text("one")
    (tmp_path / "b.caption").write_text("two")
    assert [record["text"] for record in opened(tmp_path)] == ["one", "two"]


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
        ('{"file_name": "two\\nlines.png"}', "lines.png"),
        ("[" * 100_000, "not valid JSON"),
        ('{"file_name": "a.png", "label": ' + "1" * 5000 + "}", "not valid JSON"),
    ],
)
def test_a_bad_line_of_metadata_is_named(tmp_path, line, said):
    write(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png"}\n\n' + line + "\n")
    message = refusal(tmp_path)
    assert "line 3" in message
    assert said in message


def test_empty_metadata_is_refused(tmp_path):
    write(tmp_path / "a.png")
    write_metadata(tmp_path)
    assert "no lines" in refusal(tmp_path)


def rows(tmp_path, field, *values):
    """Metadata that give a field these values, of an image each."""
    for i in range(len(values)):
        write(tmp_path / f"{i}.png")
    write_metadata(tmp_path, *({"file_name": f"{i}.png", field: x} for i, x in enumerate(values)))
    return opened(tmp_path)


@pytest.mark.parametrize("value", [[], [None], ["a", None], {}, 7, float("nan"), True, "\ud83d"])
def test_what_is_no_caption_is_named_with_its_row(tmp_path, value):
    reason = rows(tmp_path, "text", "a", ["b", "c"], value, value).absent["text"]
    assert "metadata.jsonl line 3 has " in reason and "(and 1 other of 4)" in reason
    assert "expected text" in reason


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "None", "null", "<NA>"])
def test_a_cell_of_a_table_without_a_value_is_no_caption_and_no_class(tmp_path, cell):
    for name in "ab":
        write(tmp_path / f"{name}.png")
    text = f"file_name,text,label\na.png,none of it,1\nb.png,{cell},{cell}\n"
    (tmp_path / "metadata.csv").write_text(text)
    absent = opened(tmp_path).absent
    for field in ("text", "label"):
        assert f"metadata.csv line 3 has no field '{field}'" in absent[field]


@pytest.mark.parametrize("value", [-1, 0.5, float("nan"), [], {}, "", "a\nb", "\ud83d", 10**9])
def test_what_is_no_class_is_named_with_its_row(tmp_path, value):
    folder = rows(tmp_path, "label", 0, 1, value)
    assert folder.class_names == ()
    assert "metadata.jsonl line 3 has label " in folder.absent["label"]


def test_whole_numbers_written_as_floats_are_the_classes_of_these_numbers(tmp_path):
    folder = rows(tmp_path, "label", *map(float, range(12)))
    assert [record["label"] for record in folder] == list(range(12))
    assert folder.class_names[2] == "2"


def test_numbers_and_names_as_labels_are_refused_with_one_row_of_each(tmp_path):
    reason = rows(tmp_path, "label", 3, "cat").absent["label"]
    assert "line 1 has label 3" in reason and "line 2 'cat'" in reason


def test_a_map_that_is_not_there_is_named(tmp_path):
    for value in (7, "missing.png"):
        reason = rows(tmp_path, "depth", "0.png", value).absent["depth"]
        assert "line 2" in reason and str(value) in reason


def test_all_metadata_of_others_that_are_read(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        write(tmp_path / "00000" / name)
    text = 'file_name,text,label\n00000/a.png,"a cat, asleep",1.0\n00000/b.png,a dog,0\n'
    (tmp_path / "metadata.csv").write_text("\ufeff" + text)
    folder = opened(tmp_path)
    assert [record["text"] for record in folder] == ["a cat, asleep", "a dog"]
    assert [record["label"] for record in folder] == [1, 0]
    assert "1 without a line in metadata.csv (00000/c.png)" in folder.left_out
    (tmp_path / "metadata.csv").unlink()
    labels = {"labels": [["00000/b.png", 4], ["00000/a.png", 2]]}  # of EDM
    (tmp_path / "dataset.json").write_text(json.dumps(labels))
    folder = opened(tmp_path)
    assert [record["label"] for record in folder] == [4, 2]
    assert "text" in folder.absent and len(folder.class_names) == 5


def test_pairs_of_a_hint_and_an_image_as_fill50k_has_them(tmp_path):
    for name in ("source/0.png", "source/1.png", "target/0.png", "target/1.png"):
        write(tmp_path / name)
    rows = [
        {"source": f"source/{i}.png", "target": f"target/{i}.png", "prompt": f"{i} circles"}
        for i in range(2)
    ]
    (tmp_path / "prompt.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = opened(tmp_path)
    assert [record["text"] for record in folder] == ["0 circles", "1 circles"]
    assert folder[1]["image"] == str(tmp_path / "target/1.png")
    assert folder[1]["conditioning_image"] == str(tmp_path / "source/1.png")
    assert not folder.left_out and not folder.warnings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file_name,text\na.png,a cat, asleep\n", "line 2 has more cells than the header"),
        ("file_name;text\na.png;a cat\n", "line 2 names no image"),
        ("file_name,text\n\na.png\nb.png,x\n", "line 4 names b.png"),
        ('file_name,text\n"a.png,x\n', "names a.png,x"),
        ("", "no lines"),
        ("file_name,text,text\na.png,x,y\n", "two columns 'text'"),
    ],
)
def test_a_bad_row_of_a_table_is_named(tmp_path, text, said):
    write(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text(text)
    assert said in refusal(tmp_path)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("source/a.png", "target/a.png", "prompt.json"), "prompt.json"),
        (("source/a.png", "target/b.png"), "source and target are read as classes"),
        (("10_cat/a.png", "5_dog/b.png"), "repeats"),
        (("img/10_cat/a.png", "reg/1_cat/a.png"), "repeats"),
        (("cat/a.png", "dog/a.png", "train.parquet"), "train.parquet"),
        (("cat/a.png", "dog/a.png", "dog/data.parquet"), "dog/data.parquet"),
        (("cat/a.png", "cat/metadata.jsonl", "dog/a.png"), "cat/metadata.jsonl"),
        (("cat/a.png", "dataset.json"), "dataset.json"),
    ],
)
def test_a_layout_that_is_not_read_is_warned_of(tmp_path, names, said):
    for name in names:
        if name.endswith("png"):
            write(tmp_path / name)
        else:
            (tmp_path / name).write_text("{}")
    assert any(said in warning for warning in opened(tmp_path).warnings)


def test_names_are_compared_whatever_their_unicode_form(tmp_path):
    composed, apart = "caf\u00e9", "cafe\u0301"
    write(tmp_path / composed / f"{apart}.png")
    write(tmp_path / apart / "b.png")
    (tmp_path / composed / f"{composed}.txt").write_text("x")
    (tmp_path / apart / "b.txt").write_text("y")
    folder = opened(tmp_path)
    assert folder.class_names == (composed,)
    assert sorted(record["text"] for record in folder) == ["x", "y"]
    write_metadata(tmp_path, {"file_name": f"{apart}\\{composed}.png", "text": "z"})
    assert opened(tmp_path)[0]["text"] == "z"


def test_a_class_name_that_is_not_one_line_of_utf8_is_named(tmp_path):
    for name in (os.fsdecode(b"caf\xe9"), "two\nlines", " "):
        write(tmp_path / "set" / name / "a.png")
        folder = opened(tmp_path / "set")
        assert folder.class_names == () and "rename it" in folder.absent["label"]
        assert folder[0]["name"].isprintable() and folder.absent["label"].isprintable()
        shutil.rmtree(tmp_path / "set")
