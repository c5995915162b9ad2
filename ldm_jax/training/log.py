"""Where a training run's numbers go: TensorBoard, RUN/metrics.csv and the terminal."""

import contextlib
import csv
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tqdm import tqdm

from ldm_jax.errors import StoppedError, reading, reason
from ldm_jax.runtime import hosts
from ldm_jax.runtime.files import write_whole


def open_log(run: Path, name: str, start: int, steps: int) -> "Log | Silence":
    """The log of a run from step `start` on, where this host is the one that writes it."""
    return Log(run, name, start, steps) if hosts.is_first() else Silence()


class Silence:
    """In place of a `Log` on every other host: it writes nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def __getattr__(self, name):
        return lambda *_: None


class Log:
    """Scalars and images of one run, from step `start` on; a context manager.

    What it is given is on the disk when it returns, so that it outlives the process.

    Raises:
        StoppedError: something cannot be written.
    """

    def __init__(self, run: Path, name: str, start: int, steps: int):
        self.run = run
        self.name = name
        self.steps = steps
        self.csv = run / "metrics.csv"
        with self._writing():
            run.mkdir(parents=True, exist_ok=True)
            # written here: a writing thread could die unnoticed
            self.board = EventsWriter(str(run / "events"))
            self._board(start + 1, session_log=SessionLog(status=SessionLog.START))
            self.columns = _forget_after(self.csv, start)
        self.terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=steps, initial=start, desc=name, unit="step", disable=not self.terminal
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bar.close()
        self.board.close()

    def advance(self) -> None:
        """One step was made."""
        self.bar.update()

    def say(self, message: str) -> None:
        """Prints one line."""
        with self.bar.external_write_mode():
            print(f"{self.name}: {message}", flush=True)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes the values of one step."""
        with self._writing():
            for key, value in values.items():
                self._board(step, summary=summary.scalar(key, value))
            self.board.flush()
            self._row({"step": step, **values})
        self.bar.set_postfix({"loss": f"{values['loss']:.4g}"})
        if not self.terminal:
            shown = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
            print(f"{self.name} {step}/{self.steps}  {shown}", flush=True)

    def image(self, step: int, image: np.ndarray) -> None:
        """Writes an image, uint8 [H, W, 3]."""
        with self._writing():
            self._board(step, summary=summary.image("samples", image, dataformats="HWC"))
            self.board.flush()

    def _board(self, step: int, **what) -> None:
        self.board.write_event(Event(wall_time=time.time(), step=step, **what))

    def _row(self, row: dict[str, float]) -> None:
        """Adds a row to the table, and columns that it has not had yet."""
        new = [name for name in row if name not in self.columns]
        if new:
            old = self.csv.read_text("utf-8-sig") if self.csv.exists() else ""
            rows = csv.DictReader(old.splitlines())
            self.columns += new
            header = dict(zip(self.columns, self.columns, strict=True))
            write_whole(self.csv, _as_csv(self.columns, [header, *rows, row]))
            return
        with self.csv.open("a", newline="", encoding="utf-8") as file:
            file.write(_as_csv(self.columns, [row]))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoppedError(
                f"the log of training cannot be written to '{self.run}' ({reason(error)})"
            ) from error


def _as_csv(columns: list[str], rows: list[dict]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _forget_after(path: Path, step: int) -> list[str]:
    """Drops the rows that a resumed run will write again, and one that was cut short.

    Returns the columns that are left, [] where nothing is.
    """
    if not path.exists():
        return []
    with reading(f"'{path}'", "the table that training wrote; move it out of the run"):
        header, *rows = path.read_text("utf-8-sig").splitlines(keepends=True) or [""]
        kept = [row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= step]
        for row in kept:
            if row.count(",") > header.count(","):
                raise ValueError(f"a row has more cells than the header: {row.strip()}")
    if not kept:
        path.unlink()
        return []
    write_whole(path, "".join([header, *kept]))
    return header.strip().split(",")
