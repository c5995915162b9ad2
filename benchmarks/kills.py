"""The second drill: commands that are killed at moments drawn evenly over their duration.

A process that has imported all tools forks one child for each command, so that the duration is that
of the command's own work, without the seconds that Python takes to import JAX.
"""

import contextlib
import json
import os
import runpy
import select
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
from ldm_jax.runtime import lock
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


class Starter:
    """Starts commands, one at a time.

    Args:
        cache: a folder for compiled programs and for what is said.
    """

    def __init__(self, cache: Path):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LDM_JAX_CACHE": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        }
        self._said = cache.with_name("said")
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._said],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(
        self, words: list[Any], moment: float | None = None, how: int = signal.SIGKILL
    ) -> tuple[int, str]:
        """The exit status of a command, and its words on standard error.

        Args:
            moment: seconds after which it is sent a signal; None: never.
        """
        self._process.stdin.write(json.dumps(list(map(str, words))).encode() + b"\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        if not select.select([self._process.stdout], [], [], moment)[0]:
            with contextlib.suppress(ProcessLookupError):  # it has ended just now
                os.kill(pid, how)
        return int(self._process.stdout.readline()), self._said.read_text("utf-8", "replace")


def serve(said: Path) -> None:
    """Forks a child for each line, the words of a command; prints its number, then its status."""
    tools = [ROOT / "train.py", ROOT / "sample.py", *(ROOT / "scripts").glob("*.py")]
    out = os.dup(1)
    os.dup2(2, 1)
    for tool in tools:
        runpy.run_path(str(tool))
    for line in sys.stdin:
        words = json.loads(line)
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _become(words, said)
        os.write(out, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(out, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(words: list[str], said: Path) -> None:
    """Does what the command does, and ends."""
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 2)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(1, 0)
    sys.argv, status = words, 0
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    os._exit(status)


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
        if file.name == lock.FILE:  # which process it was, and when
            continue
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
    command: Command,
    kills: int,
    end: float,
    starter: Starter,
    rng: np.random.Generator,
    say: Callable = print,
) -> Outcome:
    """Kills a command at random moments, and lets it end after every few of them.

    Args:
        end: time.monotonic() after which no kill is begun.
    """
    remove(command.made)
    status, said = starter.run(command.words)  # compiles
    if status:
        raise SystemExit(f"{command.name}: {said}")
    expected = contents(command.made)
    remove(command.made)
    began = time.monotonic()
    starter.run(command.words)
    seconds = time.monotonic() - began
    remove(command.made)
    done, ended, same = [], 0, 0
    while len(done) < kills and (time.monotonic() < end or not done):
        for _ in range(min(IN_A_ROW, kills - len(done))):
            how = SIGNALS[int(rng.integers(len(SIGNALS)))]
            status, said = starter.run(command.words, rng.uniform(0, seconds), how)
            if status in (0, 2):
                break  # it was quicker
            now = set(map(str, final(command.made))) if command.made.exists() else set()
            there = "nothing" if not now else "part"
            faults = unreadable(command.made) if now else []
            done.append(Kill(command.name, how.name, there, faults))
            if faults:
                say(f"{command.name}: {faults}", flush=True)
        status, said = starter.run(command.words)
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


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
