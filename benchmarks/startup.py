"""Time from the start of the process to the first image, of a run and of what was exported of it.

pip install flatbuffers
python benchmarks/startup.py FOLDER [--steps 25] [--rounds 3]

The model of configs/demo.py with random weights, one image. Both ways are taken in turns, each
once with an empty cache of compiled programs and then with a filled one; prints medians of wall
time and of the time that the processor worked, and how far the images are apart.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from ldm_jax import cli, runs
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.sampling import exported

ROOT = Path(__file__).parents[1]
PROMPT = "a large red circle"


def make_run(run: Path) -> None:
    """The run of a model with random weights, none of them zero."""
    experiment = cli.load_config(ROOT / "configs" / "demo.py")
    condition = experiment.conditions[0]
    tokenizer = tokens.learn([PROMPT], condition.vocab_size, condition.length)
    model = experiment.build({"tokens": tokenizer})
    shapes, rng = runs.model_shapes(model), np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: np.float32(rng.normal(size=x.shape) / max(1, x.size) ** 0.25), shapes
    )
    for name in ("shift", "scale"):
        params["first_stage"][name] = np.ones_like(params["first_stage"][name])
    runs.write_imported(run, experiment, params, None, {"tokens": tokenizer})


def timed(words: list[str], cache: Path) -> tuple[float, float]:
    """Wall and processor seconds of sample.py."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "LDM_JAX_CACHE": str(cache), "PYTHONPATH": path}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, str(ROOT / "sample.py"), *words], check=True, env=env, capture_output=True
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, worked


def main() -> None:
    """Makes a run and its export, times both in turns, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for name, default in (("steps", 25), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    run, folder, cache = (options.folder / name for name in ("run", "export", "cache"))
    if not run.exists():
        make_run(run)
    exported.write(runs.load(run), folder, batch_size=1, sampler="ddim")
    asked = ["--num", "1", "--prompt", PROMPT, "--steps", str(options.steps)]
    ways = {
        "run": [str(run), "--batch-size", "1", *asked, "--out", str(options.folder / "a")],
        "export": ["--compiled", str(folder), *asked, "--out", str(options.folder / "b")],
    }
    found: dict[tuple[str, str], list] = {}
    for _ in range(options.rounds):
        for way, words in ways.items():
            shutil.rmtree(cache, ignore_errors=True)
            for filled in ("empty", "filled"):
                found.setdefault((way, filled), []).append(timed(words, cache))
    for (way, filled), seconds in found.items():
        wall, worked = (statistics.median(column) for column in zip(*seconds, strict=True))
        print(f"{way}, cache {filled}: {wall:.1f} s wall, {worked:.1f} s of the processor")
    a, b = (np.asarray(Image.open(options.folder / x / "000000.png")).astype(int) for x in "ab")
    print(f"pixels apart: {np.mean(a != b):.4f} of them, by {np.abs(a - b).max()} at most")


if __name__ == "__main__":
    main()
