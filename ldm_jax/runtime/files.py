"""Files that are never seen half-written, whenever the process is killed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


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


def write_whole(path: Path, text: str) -> None:
    """Writes UTF-8."""
    with whole(path) as file:
        file.write_text(text, "utf-8")
