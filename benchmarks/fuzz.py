"""A fuzz: every reader of files and options, given malformed inputs.

    python benchmarks/fuzz.py --out docs/reliability.md
    python benchmarks/fuzz.py --seed 1234

Each input is made of one integer, its seed, which also says which reader has it. A reader takes
what it was given, or refuses it in one line (InputError and its like). All else is a fault: another
exception, more than 10 seconds of the processor (or 60 of waiting), more than 2 GB, anything
written outside of the folder that was asked for, another program or a connection that is opened.
`--seed` repeats one input and shows what it raises. With `--out`, the table between the marks of
that file is replaced. Exit status 1
"""

import contextlib
import dataclasses
import itertools
import json
import os
import queue
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.fuzz_readers import READERS, Sound
from ldm_jax.errors import InputError, StoppedError, reason

SECONDS, BYTES = 10, 2 * 10**9  # of the processor's time, and memory, that an input may take
WAITING = 60  # seconds, whoever has the processor
REFUSALS = (InputError, StoppedError, FloatingPointError)  # of which a tool makes one line
LONGEST = 4000  # characters of such a line
MARKS = "<!-- fuzz -->", "<!-- end of fuzz -->"
OUTCOMES = ("read", "refused", "fault")


@dataclass(frozen=True)
class Options:
    """The settings of the fuzz."""

    inputs: int = 10_000
    first: int = 0
    seed: int | None = None
    processes: int = 1  # that share the inputs
    out: Path | None = None
    worker: bool = False  # one line of JSON for each input, as the process that watches reads it


class Result(NamedTuple):
    """What became of an input; `fault` and `where` say what is wrong, and the line of code."""

    seed: int
    reader: str
    outcome: str
    seconds: float
    memory: int  # bytes beyond those that were held before
    fault: str = ""
    where: str = ""


class Hang(BaseException):
    """An input took too long."""


class Watch:
    """Sees what the process does while an input is read; there is one."""

    def __init__(self):
        self.folder: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self.audit)

    def audit(self, event: str, args: tuple) -> None:
        if self.folder is None:
            return
        if event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.check("wrote", path)
        elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link"):
            for path in args[:2]:
                self.check(event, path)
        elif event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"):
            self.seen.append(f"started a program: {args[:1]}")
        elif event == "socket.connect":
            self.seen.append(f"opened a connection: {args[1:]}")

    def check(self, what: str, path: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        place = os.path.abspath(os.fsdecode(path))
        if not place.startswith((self.folder, "/proc/", "/dev/")):
            self.seen.append(f"{what} {place}")

    @contextlib.contextmanager
    def on(self, folder: Path) -> Iterator[list[str]]:
        """A list of what is done outside of a folder."""
        self.folder, self.seen = str(folder), []
        try:
            yield self.seen
        finally:
            self.folder = None


_watch: list[Watch] = []


def memory(name: str) -> int:
    """A field of /proc/self/status in bytes; VmHWM is the most since it was reset."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"))
    return int(found[1]) * 1024


def run(seed: int, sound: Sound, place: Path) -> Result:
    """Makes the input of a seed in a folder, reads it, and says what became of it."""
    if not _watch:
        _watch.append(Watch())
    rng = Random(seed)
    names = list(READERS)
    name = rng.choices(names, [READERS[one].share for one in names])[0]
    folder = place / f"case{seed}"
    folder.mkdir()
    before = os.getcwd()
    os.chdir(folder)
    try:
        read = READERS[name].make(rng, sound, folder)
        Path("/proc/self/clear_refs").write_text("5", "utf-8")
        held = memory("VmRSS")
        began, used = time.monotonic(), time.process_time()
        outcome, fault, where = _outcome(read, folder)
        waited, seconds = time.monotonic() - began, time.process_time() - used
        most = max(0, memory("VmHWM") - held)
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)
    if not fault and (seconds > SECONDS or waited > WAITING):
        outcome, fault = "fault", f"took {max(seconds, waited):.0f} s"
    if not fault and most > BYTES:
        outcome, fault = "fault", f"took {most / 1e9:.1f} GB"
    return Result(seed, name, outcome, seconds, most, fault, where)


def _outcome(read: Any, folder: Path) -> tuple[str, str, str]:
    """Whether an input is read, refused or a fault; which fault, and where."""

    began, used = time.monotonic(), time.process_time()

    def stop(*_):
        # another program may have had the processor meanwhile
        if time.process_time() - used > SECONDS or time.monotonic() - began > WAITING:
            raise Hang(f"takes more than {SECONDS} s")

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
    outcome = "read", "", ""
    try:
        with (
            open(os.devnull, "w", encoding="utf-8") as nothing,
            contextlib.redirect_stdout(nothing),
            contextlib.redirect_stderr(nothing),
            _watch[0].on(folder) as seen,
        ):
            read()
    except REFUSALS as error:
        said = str(error)
        if not said.strip() or len(said) > LONGEST:
            outcome = "fault", f"a refusal of {len(said)} characters: {reason(error)}", ""
        else:
            outcome = "refused", "", ""
    except SystemExit as error:
        outcome = ("fault", f"exit {error.code}", "") if error.code else outcome
    except (KeyboardInterrupt, SystemError):
        raise
    except BaseException as error:
        outcome = "fault", f"{type(error).__name__}: {reason(error)}", _line(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    return ("fault", seen[0], "") if seen else outcome


def _line(error: BaseException) -> str:
    """Where in the package an exception comes from."""
    lines = traceback.extract_tb(error.__traceback__)
    own = [
        one for one in lines if "/ldm_jax/" in one.filename or one.filename.endswith("sample.py")
    ]
    last = (own or lines)[-1]
    return f"{Path(last.filename).name}:{last.lineno} {last.name}"


def work(options: Options) -> None:
    """Reads the inputs of a range of seeds, and writes a line for each."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the readers say themselves
    with tempfile.TemporaryDirectory(prefix="fuzz") as place:
        sound = Sound(Path(place) / "sound")
        for seed in range(options.first, options.first + options.inputs):
            limit = memory("VmSize") + 2 * BYTES
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            print(json.dumps({"begins": seed}), file=out, flush=True)
            try:
                try:
                    found = run(seed, sound, Path(place))
                except SystemError:  # of CPython's ast, after it was given what nests too deeply
                    found = run(seed, sound, Path(place))
            except Exception as error:  # of what makes the input
                why = f"no input was made: {type(error).__name__}: {reason(error)}"
                found = Result(seed, "?", "fault", 0, 0, why, _line(error))
            print(json.dumps(found._asdict()), file=out, flush=True)


def watched(options: Options) -> Iterator[Result]:
    """The results of all inputs, also of those that end the process or never return."""
    seed, end = options.first, options.first + options.inputs
    while seed < end:
        words = [sys.executable, __file__, "--worker"]
        words += ["--first", str(seed), "--inputs", str(end - seed)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        waits, rest = 120.0, b""
        while True:
            ready, _, _ = select.select([process.stdout], [], [], waits)
            data = os.read(process.stdout.fileno(), 2**16) if ready else b""
            if not data:
                process.kill()
                status = process.wait()
                break
            *lines, rest = (rest + data).split(b"\n")
            for found in map(json.loads, lines):
                waits = 2.0 * WAITING
                if "begins" in found:
                    seed = found["begins"]
                else:
                    seed += 1
                    yield Result(**found)
        if seed < end:
            why = f"ended the process ({status})" if ready else "never returned"
            yield Result(seed, "?", "fault", waits, 0, why)
            seed += 1


def shared(options: Options) -> Iterator[Result]:
    """The results of all inputs, of which each process has its share."""
    ends = [options.inputs * i // options.processes for i in range(options.processes + 1)]
    found: queue.Queue[Result | None] = queue.Queue()

    def take(first: int, end: int) -> None:
        part = dataclasses.replace(options, first=options.first + first, inputs=end - first)
        for one in watched(part):
            found.put(one)
        found.put(None)

    for first, end in itertools.pairwise(ends):
        threading.Thread(target=take, args=(first, end), daemon=True).start()
    left = options.processes
    while left:
        one = found.get()
        if one is None:
            left -= 1
        else:
            yield one


def table(results: list[Result], seconds: float, processes: int) -> str:
    """What became of the inputs, as a page shows it."""
    found = defaultdict(list)
    for one in results:
        found[one.reader].append(one)
    lines = [
        f"{len(results):,} inputs in {seconds / 60:.0f} minutes, by {processes} processes.",
        "",
        "| reader | what is malformed | inputs | read | refused | faults | longest, s | most, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in [name for name in (*READERS, "?") if name in found]:
        some = found[name]
        counts = (str(sum(one.outcome == kind for one in some)) for kind in OUTCOMES)
        what = READERS[name].what if name in READERS else "the process ended"
        longest, most = max(one.seconds for one in some), max(one.memory for one in some)
        cells = (name, what, str(len(some)), *counts, f"{longest:.1f}", f"{most / 1e6:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(options: Options) -> None:
    """Reads all inputs, or repeats one."""
    if options.worker:
        return work(options)
    if options.seed is not None:
        with tempfile.TemporaryDirectory(prefix="fuzz") as place:
            sound, rng = Sound(Path(place) / "sound"), Random(options.seed)
            print(run(options.seed, sound, Path(place)))
            names = list(READERS)
            name = rng.choices(names, [READERS[one].share for one in names])[0]
            os.chdir(place)
            read = READERS[name].make(rng, sound, Path(place))
            return print("read:", repr(read())[:200])
    began, results = time.monotonic(), []
    kinds: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for one in shared(options):
        results.append(one)
        if one.fault:
            kinds[one.reader, one.fault.split(":")[0], one.where].append(one.seed)
            if len(kinds[one.reader, one.fault.split(":")[0], one.where]) == 1:
                print(f"{one.seed} {one.reader}: {one.fault} [{one.where}]", flush=True)
    for (name, fault, where), seeds in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"{len(seeds)} x {name}: {fault} [{where}], such as {seeds[:5]}")
    text = table(results, time.monotonic() - began, options.processes)
    print(text)
    if options.out:
        before, _, rest = options.out.read_text("utf-8").partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        options.out.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", "utf-8")
    if kinds:
        sys.exit(1)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
