"""What is an image of a set, and what is left out of it, by kind."""

import json
import os

import pytest
from PIL import Image

from ldm_jax.data.folder import list_images
from ldm_jax.data.image_set import find_images
from ldm_jax.errors import InputError


def write(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path, "PNG")
    return folder


def names(files):
    return files.images


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (".ipynb_checkpoints/a.png", "hidden"),
        ("dog/._a.png", "hidden"),
        ("__MACOSX/._a.png", "of the system"),
        ("dog/@eaDir/a.png", "of the system"),
        ("lost+found/a.png", "of the system"),
        ("$RECYCLE.BIN/a.png", "of the system"),
    ],
)
def test_what_others_leave_in_folders_is_no_image(tmp_path, name, kind):
    files = find_images(write(tmp_path, "dog/b.png", name))
    assert names(files) == ["dog/b.png"]
    assert list(files.left_out) == [kind]
    assert files.summary().startswith(f"1 {kind} (")


def test_what_sample_py_writes_beside_its_samples_is_no_image(tmp_path):
    mine = ("000000.png", "000001.png", "grid.png", "interpolation.gif", "previews/000000-001.png")
    write(tmp_path / "drawn", *mine, "notes.png")
    (tmp_path / "drawn" / "report.json").write_text(json.dumps({"request": {}, "ldm_jax": "1"}))
    assert names(find_images(tmp_path / "drawn")) == ["000000.png", "000001.png", "notes.png"]
    assert len(find_images(tmp_path).images) == 3  # also one of several
    for report in ("{}", "[1]", "{", "[" * 100_000):  # of somebody else
        (tmp_path / "drawn" / "report.json").write_text(report)
        assert len(find_images(tmp_path / "drawn").images) == len(mine) + 1


def test_links_are_followed_once_a_sub_folder(tmp_path):
    write(tmp_path, "a/1.png", "b/2.png", "c/deep/3.png")
    for link, to in (("s/a", "a"), ("s/same", "a"), ("s/b", "b"), ("a/up", "."), ("s/c/x", "c")):
        (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / to)
    found = names(find_images(tmp_path / "s"))
    for expected in ("a/1.png", "same/1.png", "b/2.png", "c/x/deep/3.png"):
        assert expected in found
    assert len(found) < 30


def test_broken_links_and_pipes_are_named_and_not_opened(tmp_path):
    write(tmp_path, "cat/a.png")
    (tmp_path / "dog").symlink_to(tmp_path / "moved")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    os.mkfifo(tmp_path / "cat" / "b.png")
    files = find_images(tmp_path)
    assert names(files) == ["cat/a.png"]
    assert files.left_out["broken links"] == ["dog", "self"]
    assert files.left_out["neither files nor folders"] == ["cat/b.png"]


def test_other_endings_and_empty_folders_are_read_or_named(tmp_path):
    write(tmp_path, "cat/a.jfif", "cat/b.AVIF", "cat/c.jpe", "cat/d.ppm")
    (tmp_path / "dog" / "deep").mkdir(parents=True)
    (tmp_path / "cat" / "e.heic").write_bytes(b"")
    files = find_images(tmp_path)
    assert len(files.images) == 4
    assert files.left_out == {"folders without images": ["dog/"]}
    assert files.summary() == "1 folders without images (dog/), 1 .heic (cat/e.heic)"


def test_a_long_list_is_cut_short(tmp_path):
    write(tmp_path, *(f".{i}.png" for i in range(9)))
    assert find_images(tmp_path).summary() == "9 hidden (.0.png, .1.png, .2.png, 6 more)"


def test_a_folder_that_may_not_be_read_is_refused_by_name(tmp_path, monkeypatch):
    write(tmp_path, "cat/a.png", "dog/a.png")
    own = os.scandir

    def scandir(path):
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied")
        return own(path)

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(InputError, match=r"/cat may not be read \(Permission denied\)"):
        find_images(tmp_path)


def test_with_metadata_the_images_are_those_listed(tmp_path):
    write(tmp_path, "a.png", "a-depth.png", "b.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "depth": "a-depth.png"}')
    files = list_images(tmp_path)
    assert names(files) == ["a.png"]
    assert files.paths == [tmp_path / "a.png"]
    assert files.left_out["without a line in metadata.jsonl"] == ["a-depth.png", "b.png"]
