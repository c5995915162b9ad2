"""A drill: training that is killed again and again, and ends as if it never had been.

    python benchmarks/drill.py --out docs/reliability.md
    python benchmarks/drill.py --commands --kills 200 --out docs/reliability.md

Trains a tiny latent diffusion model (both stages, on drawn images) once without interruption. Then
trains it again in several runs, whose process is sent SIGKILL or SIGTERM while it compiles, makes
a step, writes a checkpoint or draws images, until each run has had its share of `--kills`; the
same command goes on every time. At the end parameters, averages, optimizer, place in the data and
the table of metrics must be those of the uninterrupted run, bit for bit. With `--out`, the table
between the marks of that file is replaced. Exit status 1 where a run ended otherwise.

With `--commands`, train.py, sample.py, cache_latents.py, convert.py and evaluate.py are killed
instead, at moments that are drawn evenly over their duration (see `kills`). No file under its final
name may be half-written then, and the same command must end as the uninterrupted one.
"""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import kills
import numpy as np
import orbax.checkpoint as ocp
import tyro
from PIL import Image

from ldm_jax import checkpoint, runs
from ldm_jax import config as c

ROOT = Path(__file__).parents[1]
STAGES = {"first stage": 12, "diffusion": 60}  # steps
SAVE_EVERY, DRAW_EVERY = 4, 8
PHASES = ("compile", "step", "save", "evaluation")
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
MEASURED = ("images_per_second", "data_wait", "teraflops_per_second", "share_of_peak", "memory_gib")
MARKS = "<!-- drill -->", "<!-- end of drill -->"
MARKS_OF_COMMANDS = "<!-- kills -->", "<!-- end of kills -->"


@dataclass(frozen=True)
class Options:
    """The settings of the drill."""

    kills: int = 50
    runs: int = 5
    seed: int = 0
    commands: bool = False
    minutes: float = 25  # after which no command is killed any more
    out: Path | None = None
    workdir: Path | None = None


class Kill(NamedTuple):
    """One kill: what was aimed at, and what it cost."""

    signal: str
    phase: str
    stage: str
    status: int
    lost: int  # steps that had been made and were made again


def experiment(images: Path) -> c.Experiment:
    """Both stages, of a few thousand parameters."""
    train = c.Train(save_every=SAVE_EVERY, log_every=1, num_samples=4)
    return c.Experiment(
        first_stage=c.FirstStageExperiment(
            model=c.KLAutoencoder(
                channels=8, channel_mults=(1, 2), num_res_blocks=1, z_channels=2, norm_groups=4,
                mid_attention=False,
            ),
            optim=c.Optim(lr=1e-2, ema_decay=0.9),
            train=c.Train(**vars(train) | {"steps": STAGES["first stage"], "sample_every": 0}),
        ),
        model=c.UNet(
            channels=8, channel_mults=(1,), num_res_blocks=1, attention_factors=(), num_heads=2,
            norm_groups=4,
        ),
        diffusion=c.Diffusion(schedule="cosine", steps=50, prediction="v"),
        sampling=c.Sampling(steps=50, spacing="trailing"),
        data=c.Data(path=str(images), image_size=8, batch_size=8),
        optim=c.Optim(lr=1e-2, ema_decay=0.9),
        train=c.Train(**vars(train) | {"steps": STAGES["diffusion"], "sample_every": DRAW_EVERY}),
    )  # fmt: skip


def start(config: Path, run: Path, cache: Path) -> subprocess.Popen:
    """train.py, which says what it does on a pipe."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LDM_JAX_CACHE": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    return subprocess.Popen(
        [sys.executable, ROOT / "train.py", config, "--workdir", run],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_once(config: Path, run: Path, cache: Path, how: signal.Signals, phase: str, rng) -> Kill:
    """Starts the command, and kills it in a phase, at a moment that is drawn."""
    process, said, made = start(config, run, cache), "", dict.fromkeys(STAGES, 0)
    steps = int(rng.integers(1, 2 * SAVE_EVERY))
    seen, stage = 0, "diffusion"
    for line in process.stdout:
        said += line
        found = re.match(r"(first stage|diffusion) (\d+)/", line)
        if found:
            stage = found[1]
            made[stage] = int(found[2])
            seen += 1
        if aims(phase, line, made, seen, steps, run):
            pause(phase, run, rng)
            process.send_signal(how)
            said += process.stdout.read()
            break
    status = process.wait()
    for name, number in re.findall(r"(first stage|diffusion) (\d+)/", said):
        made[name] = max(made[name], int(number))
        stage = name
    if status not in (0, 143, -signal.SIGTERM, -signal.SIGKILL):
        raise SystemExit(f"{phase}: unexpected status {status}\n{said}")
    place = run / "first_stage" if stage == "first stage" else run
    lost = max(0, made[stage] - (checkpoint.latest_step(place) or 0))
    return Kill(how.name, phase, stage, status, lost)


def aims(phase: str, line: str, made: dict, seen: int, steps: int, run: Path) -> bool:
    """Whether the line of output comes before the moment that is meant."""
    if phase == "compile":  # the line that comes before a step is traced
        return ": a step sees" in line
    if phase == "step":
        return seen >= steps
    newest = made["diffusion"] or made["first stage"]
    if phase == "save":
        return seen and newest % SAVE_EVERY == 0
    return bool(made["diffusion"]) and made["diffusion"] % DRAW_EVERY == 0


def pause(phase: str, run: Path, rng) -> None:
    """Until the moment that is meant; one that is drawn."""
    if phase == "save":  # until the folder of an unfinished checkpoint is there
        end = time.monotonic() + 2.0
        while time.monotonic() < end and not list(run.glob("**/*.orbax-checkpoint-tmp")):
            time.sleep(0.001)
    longest = {"compile": 4.0, "step": 0.1, "save": 0.2, "evaluation": 1.0}[phase]
    time.sleep(rng.uniform(0.0, longest))


def everything(run: Path) -> dict[str, np.ndarray | str]:
    """All that a finished run holds and that does not depend on the machine."""
    found = {}
    for stage, steps in STAGES.items():
        place = run / "first_stage" if stage == "first stage" else run
        folder = (place / "checkpoints" / str(steps)).absolute()
        with ocp.StandardCheckpointer() as reader:
            for item in ("params", "ema", "optimizer"):
                leaves = jax.tree_util.tree_leaves_with_path(reader.restore(folder / item))
                for path, x in leaves:
                    found[f"{stage}/{item}{jax.tree_util.keystr(path)}"] = np.asarray(x)
        (data,) = (folder / "data").glob("*.json")
        found[f"{stage}/data"] = json.dumps(json.loads(data.read_text("utf-8")))
        with (place / "metrics.csv").open(newline="", encoding="utf-8") as file:
            rows = [{k: v for k, v in r.items() if k not in MEASURED} for r in csv.DictReader(file)]
        found[f"{stage}/metrics"] = json.dumps(rows)
    photos = sorted((run / "samples").iterdir())
    found |= {f"samples/{p.name}": np.asarray(Image.open(p)) for p in photos}
    return found


def differences(run: Path, whole: dict) -> list[str]:
    """What a run holds otherwise than the uninterrupted one."""
    found = everything(run)
    return sorted(
        name
        for name in whole.keys() | found.keys()
        if not np.array_equal(whole.get(name, ""), found.get(name, ""))
    )


def table(kills: list[Kill], count: int, same: int, seconds: float) -> str:
    """What happened, as a page shows it."""
    lines = [
        f"{len(kills)} kills in {count} runs of {STAGES['first stage']} and {STAGES['diffusion']} "
        f"steps, a checkpoint every {SAVE_EVERY} steps and images every {DRAW_EVERY}; "
        f"{same} of {count} runs ended as the uninterrupted one, bit for bit. "
        f"{seconds / 60:.0f} minutes.",
        "",
        "| signal | while it | kills | exit statuses | steps made again, mean | most |",
        "|---|---|---|---|---|---|",
    ]
    names = {
        "compile": "started or compiled",
        "step": "made a step",
        "save": "wrote a checkpoint",
        "evaluation": "drew images",
    }
    for how in SIGNALS:
        for phase in PHASES:
            some = [k for k in kills if (k.signal, k.phase) == (how.name, phase)]
            if some:
                statuses = Counter(k.status for k in some)
                said = ", ".join(f"{n} x {status}" for status, n in sorted(statuses.items()))
                lost = [k.lost for k in some]
                lines.append(
                    f"| {how.name} | {names[phase]} | {len(some)} | {said} | {np.mean(lost):.1f} | "
                    f"{max(lost)} |"
                )
    return "\n".join(lines)


def commands_of(root: Path, config: Path, images: Path) -> list[kills.Command]:
    """What is killed at random moments, in an order in which each has what it reads."""
    run, scripts = root / "run", ROOT / "scripts"
    convert, evaluate = scripts / "convert.py", scripts / "evaluate.py"
    stage, file = run / "first_stage", root / "exported" / "stage.safetensors"
    shards = ("--num", 12, "--draw-batch", 4, "--shard-size", 4)
    made = {name: root / name for name in ("killed", "samples", "latents", "b", "shards", "report")}
    words = (
        ("train.py", ROOT / "train.py", config, "--workdir", made["killed"]),
        ("sample.py", ROOT / "sample.py", run, "--num", 8, "--out", made["samples"]),
        ("cache_latents.py", scripts / "cache_latents.py", run, images, made["latents"]),
        ("convert.py, out", convert, stage, file),
        ("convert.py, in", convert, root / "a.pt", made["b"], "--config", stage / "config.py"),
        ("evaluate.py generate", evaluate, "generate", run, *shards, "--out", made["shards"]),
        ("evaluate.py first-stage", evaluate, "first-stage", run, images, "--out", made["report"]),
    )
    places = [*list(made.values())[:3], file, *list(made.values())[3:]]
    return [
        kills.Command(name, list(rest), place, share)
        for (name, *rest), place, share in zip(words, places, (5, 4, 4, 2, 2, 3, 2), strict=True)
    ]


def drill_commands(options: Options, root: Path, config: Path, images: Path) -> None:
    """Kills each of the commands, and writes the table."""
    began, rng = time.monotonic(), np.random.default_rng(options.seed)
    (root / "exported").mkdir()
    (root / "cache").mkdir()
    starter, small = kills.Starter(root / "cache"), experiment(images)
    train = replace(small.train, steps=8, save_every=2, sample_every=4)
    first = replace(small.first_stage, train=replace(train, steps=4, sample_every=0))
    config.write_text(runs.as_python(replace(small, train=train, first_stage=first)), "utf-8")
    for words in (
        [ROOT / "train.py", config, "--workdir", root / "run"],
        [ROOT / "scripts" / "convert.py", root / "run" / "first_stage", root / "a.pt"],
    ):
        status, said = starter.run(words)
        if status:
            raise SystemExit(said)
    commands, found = commands_of(root, config, images), []
    shares, past = sum(command.share for command in commands), 0
    for command in commands:
        count = round(options.kills * command.share / shares)
        past += command.share
        end = began + options.minutes * 60 * past / shares
        found.append(kills.drill(command, count, end, starter, rng))
    text = kills.table(found, (time.monotonic() - began) / 60)
    write(options.out, text, MARKS_OF_COMMANDS)
    if any(one.same < one.ends or any(kill.faults for kill in one.kills) for one in found):
        sys.exit(1)


def write(out: Path | None, text: str, marks: tuple[str, str]) -> None:
    """Prints a table, and puts it between the marks of a page."""
    print(text)
    if out:
        before, _, rest = out.read_text("utf-8").partition(marks[0])
        after = rest.partition(marks[1])[2]
        out.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{after}", "utf-8")


def main(options: Options) -> None:
    """Trains once, then with kills, and compares."""
    began, rng = time.monotonic(), np.random.default_rng(options.seed)
    root = options.workdir or Path(tempfile.mkdtemp(prefix="drill"))
    images, cache, config = root / "images", root / "cache", root / "config.py"
    images.mkdir(parents=True, exist_ok=True)
    for i in range(16):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{i:02}.png")
    config.write_text(runs.as_python(experiment(images)), "utf-8")
    if options.commands:
        return drill_commands(options, root, config, images)
    process = start(config, root / "whole", cache)
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(said)
    whole = everything(root / "whole")
    print(f"uninterrupted: {time.monotonic() - began:.0f} s", flush=True)

    kinds = [(how, phase) for phase in PHASES for how in SIGNALS]
    order = [kinds[i % len(kinds)] for i in range(options.kills)]
    rng.shuffle(order)
    made, same = [], 0
    for number in range(options.runs):
        run = root / f"killed{number}"
        for how, phase in order[number :: options.runs]:
            kill = kill_once(config, run, cache, signal.Signals(int(how)), str(phase), rng)
            made.append(kill)
            print(f"run {number}: {kill}", flush=True)
        process = start(config, run, cache)
        said, _ = process.communicate()
        if process.returncode:
            raise SystemExit(said)
        other = differences(run, whole)
        same += not other
        print(f"run {number}: {', '.join(other[:5]) or 'the same bit for bit'}", flush=True)
    text = table(made, options.runs, same, time.monotonic() - began)
    write(options.out, text, MARKS)
    if same != options.runs:
        sys.exit(1)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
