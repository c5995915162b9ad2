"""The second drill: commands that are killed at moments drawn evenly over their whole duration."""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from PIL import Image

from ldm_jax import checkpoint
from ldm_jax.weights.formats.files import read_weights

ROOT = Path(__file__).parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
IN_A_ROW = 5  # kills before a command may end
UNFINISHED = (".orbax-checkpoint-tmp", ".unfinished")  # how folders end that are not whole yet
# of reports and tables, what depends on the machine
MEASURED = ("images_per_second", "data_wait", "teraflops_per_second", "share_of_peak", "seconds")
MEASURED += ("memory_gib", "events")


class Command(NamedTuple):
    """A command of the drill.

    words:   of the command line
    made:    the folder or file that it writes
    share:   of the kills
    """

    name: str
    words: list[Any]
    made: Path
    share: int


class Kill(NamedTuple):
    """What a kill left behind.

    there:  nothing, a part or all of what the command writes
    faults: files under their final names that cannot be read
    """

    command: str
    signal: str
    there: str
    faults: list[str]


class Outcome(NamedTuple):
    """A command after its kills: how it ended."""

    command: str
    seconds: float  # uninterrupted
    kills: list[Kill]
    ends: int
    same: int  # of these, as the uninterrupted one


def start(words: list[Any], cache: Path) -> subprocess.Popen:
    """A tool of the command line, silent."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LDM_JAX_CACHE": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    words = [sys.executable, *map(str, words)]
    return subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def ends(words: list[Any], cache: Path) -> tuple[int, str]:
    """The exit status of a command that nobody kills, and its last words."""
    process = start(words, cache)
    said = process.stderr.read().decode(errors="replace")
    return process.wait(), said


def final(place: Path) -> Iterator[Path]:
    """The files in a folder, or the one file, that have their final names."""
    for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
        parts = file.relative_to(place.parent).parts
        hidden = any(part.startswith(".") or part.endswith(UNFINISHED) for part in parts[:-1])
        own = parts[-1].startswith(".") and not parts[-1].startswith(".zarray")
        if file.is_file() and not hidden and not own:
            yield file


def unreadable(place: Path) -> list[str]:
    """The files under their final names that are not whole."""
    found = []
    for file in final(place):
        try:
            _read(file)
        except Exception as error:
            found.append(f"{file.name}: {error}")
    runs = [file.parent for file in place.rglob("checkpoints")] if place.is_dir() else []
    for run in runs:
        for step in checkpoint.steps(run):
            try:
                checkpoint.weight_shapes(run, step)
            except Exception as error:
                found.append(f"checkpoint {step}: {error}")
    return found


def _read(file: Path) -> None:
    if file.suffix in (".png", ".gif"):
        with Image.open(file) as image:
            image.load()
    elif file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            for name in arrays.files:
                arrays[name]
    elif file.suffix == ".npy":
        np.load(file, allow_pickle=False)
    elif file.suffix == ".json":
        json.loads(file.read_text("utf-8"))
    elif file.suffix == ".py":
        compile(file.read_text("utf-8"), file.name, "exec")
    elif file.suffix == ".safetensors":
        dict(read_weights(file))
    elif file.suffix == ".array_record":
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        source = ArrayRecordDataSource([str(file)])
        [source[i] for i in range(len(source))]


def contents(place: Path) -> dict[str, Any]:
    """All that a command wrote and that does not depend on the machine, by name."""
    found: dict[str, Any] = {}
    for file in final(place):
        name = str(file.relative_to(place.parent))
        if "checkpoints/" in name or "/frozen/" in name or "/digests/" in name or "/events" in name:
            continue
        data = file.read_bytes()
        if file.suffix == ".csv":
            header, *rows = (line.split(",") for line in data.decode().splitlines())
            kept = [i for i, column in enumerate(header) if column not in MEASURED]
            found[name] = [[row[i] for i in kept] for row in rows]
        elif file.suffix == ".json":
            found[name] = _without(json.loads(data))
        else:
            found[name] = zlib.crc32(data)
    for folder in sorted(place.rglob("*")) if place.is_dir() else []:
        if folder.name in ("params", "ema", "optimizer", "frozen") and folder.is_dir():
            with ocp.StandardCheckpointer() as reader:
                tree = reader.restore(folder.absolute())
            for path, x in jax.tree_util.tree_leaves_with_path(tree):
                where = f"{folder.relative_to(place)}{jax.tree_util.keystr(path)}"
                found[where] = zlib.crc32(np.asarray(x).tobytes())
    return found


def _without(value: Any) -> Any:
    """JSON without what is measured of the machine."""
    if isinstance(value, dict):
        return {name: _without(x) for name, x in value.items() if name not in MEASURED}
    return value


def remove(place: Path) -> None:
    """Removes what a command wrote, with what is not whole."""
    subprocess.run(["rm", "-rf", str(place), *map(str, place.parent.glob(f".{place.name}*"))])


def leftovers(place: Path) -> list[str]:
    """Hidden or temporary files that are there after a command has ended."""
    beside = [file.name for file in place.parent.glob(f".{place.name}*")]
    inside = (file for file in place.rglob("*") if place.is_dir())
    return beside + [
        file.name
        for file in inside
        if file.name.endswith(UNFINISHED)
        or (file.name.startswith(".") and file.parent.name not in ("params", "ema"))
    ]


def drill(
    command: Command, kills: int, cache: Path, rng: np.random.Generator, say: Callable = print
) -> Outcome:
    """Kills a command at random moments, and lets it end after every few of them."""
    remove(command.made)
    status, said = ends(command.words, cache)  # compiles
    if status:
        raise SystemExit(f"{command.name}: {said}")
    expected = contents(command.made)
    remove(command.made)
    began = time.monotonic()
    ends(command.words, cache)
    seconds = time.monotonic() - began
    remove(command.made)
    done, ended, same = [], 0, 0
    while len(done) < kills:
        for _ in range(min(IN_A_ROW, kills - len(done))):
            how = SIGNALS[int(rng.integers(len(SIGNALS)))]
            process = start(command.words, cache)
            try:
                process.wait(rng.uniform(0, seconds))
                break  # it was quicker
            except subprocess.TimeoutExpired:
                process.send_signal(how)
                process.wait()
            finally:
                process.stderr.close()
            now = set(map(str, final(command.made))) if command.made.exists() else set()
            there = "nothing" if not now else "part"
            faults = unreadable(command.made) if now else []
            done.append(Kill(command.name, how.name, there, faults))
            if faults:
                say(f"{command.name}: {faults}", flush=True)
        status, said = ends(command.words, cache)
        whole = status == 2 and "exists" in said  # a kill after all was written
        ended += 1
        apart = _apart(expected, contents(command.made)) if status == 0 or whole else [said]
        apart += leftovers(command.made)
        same += not apart
        say(f"{command.name}: {len(done)} kills, {apart[:3] or 'the same'}", flush=True)
        remove(command.made)
    return Outcome(command.name, seconds, done, ended, same)


def _apart(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    names = expected.keys() | found.keys()
    return sorted(name for name in names if expected.get(name) != found.get(name))


def table(outcomes: list[Outcome], minutes: float) -> str:
    """What happened, as a page shows it."""
    total = sum(len(one.kills) for one in outcomes)
    lines = [
        f"{total} kills in {minutes:.0f} minutes, two of three by SIGKILL, the others by SIGTERM.",
        "",
        "| command | duration, s | kills | before a file was there | files that were not whole | "
        "ended afterwards | as uninterrupted |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in outcomes:
        nothing = sum(kill.there == "nothing" for kill in one.kills)
        faults = sum(len(kill.faults) for kill in one.kills)
        cells = (one.command, f"{one.seconds:.1f}", len(one.kills), nothing, faults, one.ends)
        lines.append(f"| {' | '.join(map(str, cells))} | {one.same} |")
    return "\n".join(lines)
