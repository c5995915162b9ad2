"""Quality against network calls for every sampler, and against guidance, on the shapes model.

    pip install matplotlib
    python benchmarks/samplers.py runs/demo --out docs

Draws `--num` images for captions held out from training in every cell and writes samplers.csv,
samplers.png, guidance.csv and guidance.png. Cells that a csv holds already are not drawn again.

- Caption accuracy: the share of captions whose every stated attribute is found in the image.
- Frechet distance of 64 features, the first principal components of drawn scenes, to the drawn
  scenes of the same captions. The dotted line is how far as many drawn scenes of other captions are
  from these.
- Network calls: how often a sampler calls the denoiser in a trajectory, counted. With
  guidance each of them costs two passes through the network, alike for all.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ldm_jax import runs
from ldm_jax import sampling as request
from ldm_jax.data import image_files, pipeline, transforms
from ldm_jax.diffusion import sampling
from ldm_jax.diffusion.samplers.loop import sample
from ldm_jax.diffusion.samplers.names import SAMPLERS, build_sampler
from ldm_jax.diffusion.spacing import pad
from ldm_jax.metrics.caption_accuracy import caption_scores
from ldm_jax.metrics.frechet import frechet_distance
from ldm_jax.metrics.statistics import Moments, moments
from ldm_jax.runtime.sharding import devices
from ldm_jax.sampling.drawing import inputs_of
from ldm_jax.sampling.generate import in_batches, make_generate
from ldm_jax.sampling.sampler import settings
from ldm_jax.sampling.view import view
from ldm_jax.types import Denoised

COMPONENTS = 64


@dataclass(frozen=True)
class Options:
    """The settings of the benchmark."""

    run: tyro.conf.Positional[Path]
    out: Path = Path("docs")
    num: int = 200
    batch_size: int = 50
    calls: tuple[int, ...] = (4, 6, 10, 16, 25, 50)
    guidances: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 5.0, 8.0)


def count_calls(trained: runs.Trained, asked: sampling.Sampling) -> int:
    """The calls of the denoiser in a trajectory."""
    process, calls = trained.model.process, []

    def denoise(z, t):
        jax.debug.callback(lambda: calls.append(1))
        return Denoised(z / 2)

    sampler = build_sampler(asked.sampler)(**sampling.arguments(asked))
    z = process.initial_noise_std(jnp.float32(process.T)) * jnp.ones((1, 2, 2, 1))
    keys = jax.random.split(jax.random.key(0), 1)
    jax.block_until_ready(
        sample(sampler, denoise, process, sampling.times(asked, process), z, keys)
    )
    jax.effects_barrier()
    return len(calls)


def drawn(data, num: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """`num` captions, their images and as many others, uint8 [num, H, W, 3]."""
    source, info = pipeline.open_source(data)
    if info.num_examples < 2 * num:
        raise SystemExit(f"--num is {num}: the split has {info.num_examples} scenes, half is most")
    rows = range(2 * num)
    images = np.stack(
        [
            np.asarray(
                transforms.resize(
                    transforms.decode(source[i]["image"], data.background), data.image_size
                )
            )
            for i in rows
        ]
    )
    return [source[i]["text"] for i in rows[:num]], images[:num], images[num:]


class Features:
    """The first principal components of images."""

    def __init__(self, images: np.ndarray):
        x = self._flat(images)
        self.mean = x.mean(axis=0)
        self.axes = np.linalg.svd(x - self.mean, full_matrices=False)[2][:COMPONENTS].T

    def __call__(self, images: np.ndarray) -> Moments:
        return moments((self._flat(images) - self.mean) @ self.axes)

    @staticmethod
    def _flat(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1) / 127.5 - 1.0


def main(options: Options) -> None:
    """Draws what is missing, cell by cell, then the figures."""
    trained = runs.load(options.run)
    model, data = trained.model, replace(trained.experiment.data, split="test")
    texts, images, others = drawn(data, options.num)
    features = Features(np.concatenate([images, others]))
    real, line = features(images), frechet_distance(features(images), features(others))
    spread = devices("jit")

    def measure(path: Path, cells: list[dict]) -> list[dict]:
        rows = read(path)
        done = {(row["sampler"], row["steps"], row["guidance"]) for row in rows}
        for name in dict.fromkeys(cell["sampler"] for cell in cells):
            generate = make_generate(model, build_sampler(name), data.image_size)
            for cell in (cell for cell in cells if cell["sampler"] == name):
                wanted = request.resolve(
                    trained, **cell, num=options.num, prompt=texts, batch_size=options.batch_size
                )
                asked = settings(wanted)
                if (name, str(asked.steps), str(asked.guidance)) in done:
                    continue

                def one_batch(inputs, seeds, asked=asked, generate=generate):
                    inputs, seeds = spread.split((inputs, seeds))
                    times = pad(sampling.times(asked, model.process), model.process.T)
                    given = sampling.arguments(asked)
                    return generate(trained.params, inputs, seeds, times, asked.guidance, given)

                found = in_batches(
                    one_batch,
                    inputs_of(wanted, view(trained)),
                    np.arange(options.num),
                    options.batch_size,
                )
                found = image_files.to_uint8(found)
                row = {
                    "sampler": name,
                    "steps": str(asked.steps),
                    "guidance": str(asked.guidance),
                    "network calls": str(count_calls(trained, asked)),
                    "caption accuracy": f"{caption_scores(found, texts)['caption']:.4f}",
                    "frechet distance": f"{frechet_distance(features(found), real):.4f}",
                    "num": str(options.num),
                }
                print(row, flush=True)
                rows.append(row)
                write(path, rows)
        return rows

    by_calls = measure(
        options.out / "samplers.csv",
        [
            {"sampler": name, "steps": steps}
            for name in SAMPLERS
            for steps in map(steps_for(trained, name), options.calls)
        ],
    )
    by_guidance = measure(
        options.out / "guidance.csv",
        [{"sampler": "ddim", "guidance": guidance} for guidance in options.guidances],
    )
    print(f"Frechet distance of drawn scenes of other captions: {line:.4f}")
    plot(options.out / "samplers.png", by_calls, "sampler", "network calls", line)
    plot(options.out / "guidance.png", by_guidance, "sampler", "guidance", line)


def steps_for(trained: runs.Trained, name: str) -> Callable[[int], int]:
    """Calls -> the most steps that call the network no more often; calls grow evenly with steps."""
    few, more = (
        count_calls(trained, settings(request.resolve(trained, sampler=name, steps=steps, num=1)))
        for steps in (4, 8)
    )
    each = (more - few) / 4
    return lambda calls: max(1, int((calls - few) // each + 4))


def read(path: Path) -> list[dict]:
    """The cells of a csv; none where it is not there."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict]) -> None:
    """The cells as a csv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def plot(path: Path, rows: list[dict], by: str, against: str, line: float) -> None:
    """Both measures side by side, a line for each value of `by`."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for axis, measure in zip(axes, ("caption accuracy", "frechet distance"), strict=True):
        for i, name in enumerate(dict.fromkeys(row[by] for row in rows)):
            points = sorted((float(r[against]), float(r[measure])) for r in rows if r[by] == name)
            x, y = np.array(points).T
            if measure == "caption accuracy":
                y = 1 - y
            style = {"marker": "os^Dvx"[i % 6], "markersize": 4, "linestyle": ["-", "--"][i // 10]}
            axis.plot(x, y, label=name, **style)
        axis.set(xlabel=against, ylabel=measure, yscale="log")
        if against == "network calls":
            ticks = sorted({int(row[against]) for row in rows if row["sampler"] == "ddim"})
            axis.set_xscale("log")
            axis.set_xticks(ticks, [str(tick) for tick in ticks])
            axis.xaxis.minorticks_off()
    axes[0].set_ylabel("caption error")
    axes[1].axhline(line, color="black", linestyle=":", linewidth=1)
    axes[1].legend(fontsize=7, ncols=2)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
