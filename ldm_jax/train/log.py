"""Where a training run's numbers go: TensorBoard, RUN/metrics.csv and the terminal."""

import csv
import sys
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm


class Log:
    """Scalars and pictures of one run, from step `start` on; a context manager."""

    def __init__(self, run: Path, name: str, start: int, steps: int):
        self.name = name
        self.steps = steps
        self.board = SummaryWriter(str(run), purge_step=start + 1)
        self.csv = run / "metrics.csv"
        _forget_after(self.csv, start)
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

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes the values of one step."""
        for key, value in values.items():
            self.board.add_scalar(key, value, step)
        new = not self.csv.exists()
        with self.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, ["step", *values], lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow({"step": step, **values})
        self.bar.set_postfix({"loss": f"{values['loss']:.4g}"})
        if not self.terminal:
            shown = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
            print(f"{self.name} {step}/{self.steps}  {shown}", flush=True)

    def picture(self, step: int, image: np.ndarray) -> None:
        """Writes a picture, uint8 [H, W, 3]."""
        self.board.add_image("samples", image, step, dataformats="HWC")


def _forget_after(path: Path, step: int) -> None:
    """Drops the rows that a resumed run will write again, and one that was cut short."""
    if not path.exists():
        return
    header, *rows = path.read_text().splitlines(keepends=True) or [""]
    kept = [row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= step]
    if not kept:
        path.unlink()
        return
    whole = path.with_name(f".{path.name}")
    whole.write_text("".join([header, *kept]))
    whole.replace(path)
