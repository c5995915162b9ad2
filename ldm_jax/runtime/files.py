"""Files and folders that are never seen half-written, whenever the process is killed."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = ".unfinished"


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Where to write a file, which is moved to `path` once it is whole; makes its folder.

    Its name begins with a dot and ends as that of `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, which is moved to `path` once it is whole; where a folder is already,
    its files are, in the order in which they were written."""
    inside = path.is_dir()  # which may be on a disk of its own
    unfinished = path / UNFINISHED if inside else path.with_name(f".{path.name}{UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        if inside:
            for file in sorted(unfinished.iterdir(), key=lambda file: file.stat().st_mtime_ns):
                if file.is_dir():
                    shutil.rmtree(path / file.name, ignore_errors=True)
                file.replace(path / file.name)
        else:
            unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_whole(path: Path, text: str) -> None:
    """Writes UTF-8."""
    with whole(path) as file:
        file.write_text(text, "utf-8")
