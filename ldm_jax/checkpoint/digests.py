"""Digests of a checkpoint's files, by which one that was changed is known: RUN/digests/STEP.json.

The arrays in Orbax's files have none of their own.
"""

import json
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ldm_jax.checkpoint.items import ITEMS


def write_digests(run: Path, step: int) -> None:
    """Writes the digests of a checkpoint that is whole; of one that is not there, none."""
    found = _digests(run, step, ITEMS)
    place = _place(run, step)
    place.parent.mkdir(exist_ok=True)
    if found:
        unfinished = place.with_name(f".{place.name}")
        unfinished.write_text(json.dumps(found))
        unfinished.replace(place)


def forget_digests(run: Path, step: int) -> None:
    """Removes the digests of a checkpoint that is written again or was deleted."""
    _place(run, step).unlink(missing_ok=True)


def keep_digests(run: Path, steps: Iterable[int]) -> None:
    """Removes the digests of all other checkpoints than these."""
    for step in {int(file.stem) for file in (run / "digests").glob("[0-9]*.json")} - set(steps):
        forget_digests(run, step)


def check_digests(run: Path, step: int, items: Iterable[str]) -> None:
    """Raises ValueError where files of these items are not as they were written."""
    place = _place(run, step)
    if not place.exists():
        return
    written = json.loads(place.read_text())
    expected = {name: crc for name, crc in written.items() if name.split("/")[0] in items}
    found = _digests(run, step, items)
    wrong = sorted(name for name in expected if found.get(name) != expected[name])
    if wrong:
        raise ValueError(f"{len(wrong)} of its files are not as written, such as {wrong[0]}")


def _place(run: Path, step: int) -> Path:
    return run / "digests" / f"{step}.json"


def _digests(run: Path, step: int, items: Iterable[str]) -> dict[str, int]:
    """CRC-32 of each file of some items, by its path in the checkpoint."""
    folder = run / "checkpoints" / str(step)
    return {str(file.relative_to(folder)): crc for file, crc in _crcs(_files(folder, items))}


def _files(folder: Path, items: Iterable[str]) -> list[Path]:
    """The files of some items of a checkpoint."""
    found = (file for item in items for file in (folder / item).rglob("*") if file.is_file())
    return sorted(found)


def _crcs(files: list[Path]) -> Iterator[tuple[Path, int]]:
    """CRC-32 of each file, read piece by piece, several at once."""

    def crc(file: Path) -> int:
        found = 0
        with file.open("rb") as opened:
            while piece := opened.read(2**22):
                found = zlib.crc32(piece, found)
        return found

    with ThreadPoolExecutor(4) as pool:
        yield from zip(files, pool.map(crc, files), strict=True)
