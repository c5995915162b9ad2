"""Digests of a checkpoint's files, by which one that was changed is known: RUN/digests/STEP.json.

The arrays in Orbax's files have none of their own. RUN/digests/frozen.json is of RUN/frozen, and
has itself a digest in those of the checkpoints.
"""

import json
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ldm_jax.checkpoint.folder import ITEMS
from ldm_jax.runtime.files import write_whole

FROZEN = "frozen"  # a folder of a run, in place of a step


def write_digests(run: Path, step: int | str) -> None:
    """Writes the digests of a checkpoint that is whole; of one that is not there, none."""
    found = _digests(run, step, ITEMS)
    if found and step != FROZEN and has_digests(run, FROZEN):
        found[FROZEN] = _crc(_place(run, FROZEN))
    place = _place(run, step)
    place.parent.mkdir(exist_ok=True)
    if found:
        write_whole(place, json.dumps(found))


def has_digests(run: Path, step: int | str, name: str | None = None) -> bool:
    """Whether there are digests of a checkpoint, with that of the file `name` among them."""
    return _place(run, step).exists() and (name is None or name in _written(run, step))


def forget_digests(run: Path, step: int | str) -> None:
    """Removes the digests of a checkpoint that is written again, or is no longer there."""
    _place(run, step).unlink(missing_ok=True)


def keep_digests(run: Path, steps: Iterable[int]) -> None:
    """Removes the digests of all other checkpoints than these."""
    for step in {int(file.stem) for file in (run / "digests").glob("[0-9]*.json")} - set(steps):
        forget_digests(run, step)


def check_digests(run: Path, step: int | str, items: Iterable[str]) -> None:
    """Raises ValueError where files of these items are not as they were written."""
    if not has_digests(run, step):
        return
    written = _written(run, step)
    expected = {name: crc for name, crc in written.items() if name.split("/")[0] in items}
    found = _digests(run, step, items)
    wrong = sorted(name for name in expected if found.get(name) != expected[name])
    if wrong:
        raise ValueError(f"{len(wrong)} of its files are not as written, such as {wrong[0]}")


def check_frozen_digests(run: Path, step: int) -> None:
    """Raises ValueError where RUN/frozen is not as it was written, or not that of a checkpoint."""
    own = _crc(_place(run, FROZEN)) if has_digests(run, FROZEN) else None
    if has_digests(run, step, FROZEN) and _written(run, step)[FROZEN] != own:
        raise ValueError(f"checkpoint {step} was trained with others")
    check_digests(run, FROZEN, (FROZEN,))


def _place(run: Path, step: int | str) -> Path:
    return run / "digests" / f"{step}.json"


def _written(run: Path, step: int | str) -> dict[str, int]:
    return json.loads(_place(run, step).read_text("utf-8"))


def _digests(run: Path, step: int | str, items: Iterable[str]) -> dict[str, int]:
    """CRC-32 of each file of some items, by its path in the checkpoint; several are read at once.

    The frozen weights are one item, of the run itself.
    """
    folder = run if step == FROZEN else run / "checkpoints" / str(step)
    items = (FROZEN,) if step == FROZEN else items
    files = sorted(file for item in items for file in (folder / item).rglob("*") if file.is_file())
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(_crc, files)
        return {str(file.relative_to(folder)): crc for file, crc in zip(files, found, strict=True)}


def _crc(file: Path) -> int:
    found = 0
    with file.open("rb") as opened:
        while piece := opened.read(2**22):
            found = zlib.crc32(piece, found)
    return found
