"""Nothing is deleted or written over that the report of a folder does not list."""

import json
from pathlib import Path

import numpy as np
import pytest

from ldm_jax import runs, sampling
from ldm_jax.errors import InputError
from ldm_jax.sampling import exported, save
from ldm_jax.sampling.drawing import Drawn
from ldm_jax.sampling.view import view
from tests.support import tiny


@pytest.fixture(scope="module", name="model")
def _model(class_run):
    return runs.describe(class_run)


def write(model, out: Path, **asked) -> None:
    """What a command writes, of images that are black."""
    request = sampling.resolve(model, **asked)
    num, every = request.images.num, request.decoding.preview_every
    images = np.zeros((num, tiny.SIZE, tiny.SIZE, 3), np.uint8)
    previews = np.stack([images] * (4 // every), axis=1) if every else None
    sampling.write(out, Drawn(images, previews=previews), model, request)


def found(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def of(num: int) -> set[str]:
    return {*(f"{i:06d}.png" for i in range(num)), "grid.png", "samples.npz", "report.json"}


@pytest.mark.parametrize("name", ["000001.png", "grid.png", "samples.npz", "report.json"])
def test_files_of_the_users_own_are_not_written_over(model, tmp_path, name):
    (tmp_path / name).write_text("mine", "utf-8")
    (tmp_path / "000007.png").write_text("mine", "utf-8")
    with pytest.raises(InputError, match=f"has 1 files .*, such as '{name}': expected another"):
        write(model, tmp_path, num=2)
    assert found(tmp_path) == {name, "000007.png"}
    assert (tmp_path / name).read_text("utf-8") == "mine"


def test_what_a_report_lists_makes_room_and_all_else_is_kept(model, tmp_path, capsys):
    write(model, tmp_path, num=4, preview_every=2)
    previews = {f"previews/{i:06d}-00{k}.png" for i in range(4) for k in (2, 4)}
    assert found(tmp_path) == of(4) | previews
    own = {"000009.png", "previews/000000-003.png", "notes.txt"}
    for name in own:
        (tmp_path / name).write_text("mine", "utf-8")
    write(model, tmp_path, num=2)
    assert found(tmp_path) == of(2) | own
    assert "2 others are kept, such as 000009.png" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"such as '000009\.png'"):
        sampling.check_out(tmp_path, sampling.resolve(model, num=10), view(model))


def test_a_report_lists_no_files_but_ours(model, tmp_path):
    out = tmp_path / "out"
    write(model, out, num=1)
    report = json.loads((out / "report.json").read_text("utf-8"))
    (tmp_path / "000000.png").write_text("mine", "utf-8")
    (out / "notes.txt").write_text("mine", "utf-8")
    listed = [*report["files"], "../000000.png", "notes.txt", str(tmp_path / "000000.png")]
    (out / "report.json").write_text(json.dumps(report | {"files": listed}), "utf-8")
    assert save.written(out) == of(1)
    write(model, out, num=1)
    assert found(tmp_path) == {"000000.png", "out/notes.txt", *(f"out/{x}" for x in of(1))}


def test_reports_of_before_had_no_list_and_are_about_their_images_alone(model, tmp_path):
    write(model, tmp_path, num=3)
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    del report["files"]
    (tmp_path / "report.json").write_text(json.dumps(report), "utf-8")
    (tmp_path / "000005.png").write_text("mine", "utf-8")
    write(model, tmp_path, num=1)
    assert found(tmp_path) == of(1) | {"000005.png"}


def test_a_command_that_was_ended_leaves_a_folder_that_it_goes_on_with(
    model, tmp_path, monkeypatch
):
    write(model, tmp_path, num=3)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(save.image_files, "grid", full)
        write(model, tmp_path, num=5)
    assert found(tmp_path) == of(5) - {"grid.png", "samples.npz"}
    write(model, tmp_path, num=5)
    assert found(tmp_path) == of(5)


def test_an_export_is_not_written_into_a_run(class_run, tmp_path):
    before = (class_run / "config.py").read_text("utf-8")
    with pytest.raises(InputError, match=r"has files that export\.py did not write"):
        exported.check_out(class_run)
    exported.check_out(tmp_path)
    assert (class_run / "config.py").read_text("utf-8") == before
