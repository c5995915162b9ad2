"""How much of an image prompt is in what an IP-Adapter draws (docs/adapters/ip-adapter.md).

python -m benchmarks.image_prompts draw FOLDER [--count 100] [--size 48]
    held-out scenes of one thing, as image prompts, and for each of them the caption of another one
    in FOLDER/other.txt and its edges in FOLDER/edges
python -m benchmarks.image_prompts count FOLDER SAMPLES...
    for each folder of sample.py: the share of images in which size, color, shape and place are
    those of the image prompt, of the image prompt of another, and of the other caption
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from ldm_jax.data import drawing
from ldm_jax.data.hints import edges
from ldm_jax.metrics.caption_accuracy import caption_scores

CAPTIONS, OTHER = "captions.txt", "other.txt"


def draw(folder: Path, count: int, size: int) -> None:
    (folder / "edges").mkdir(parents=True)
    rng, captions = np.random.default_rng(0), []
    for i in range(count):
        scene = drawing.random_scene(rng, 1, 1, held_out=True)
        layers = drawing.layers(scene, size, drawing.random_offsets(rng, scene))
        image = drawing.paint(layers, size)
        Image.fromarray(image).save(folder / f"{i:03}.png")
        hint = np.uint8(255 * edges(image))
        Image.fromarray(hint).save(folder / "edges" / f"{(i + 1) % count:03}.png")
        captions.append(drawing.caption(scene))
    write(folder / CAPTIONS, captions)
    write(folder / OTHER, np.roll(captions, 1))


def write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def count(prompts: Path, samples: Path) -> dict[str, dict[str, float]]:
    """Shares of the images in a folder of sample.py, by whose attributes they are."""
    with np.load(samples / "samples.npz") as file:
        images = next(file[name] for name in file if file[name].ndim == 4)
    captions, other = (
        (prompts / name).read_text("utf-8").splitlines() for name in (CAPTIONS, OTHER)
    )
    rolled = np.roll(captions, len(captions) // 2)
    return {
        "the image prompt": caption_scores(images, captions),
        "another image prompt": caption_scores(images, rolled),
        "the other caption": caption_scores(images, other),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_draw, of_count = commands.add_parser("draw"), commands.add_parser("count")
    of_draw.add_argument("folder", type=Path)
    of_draw.add_argument("--count", type=int, default=100)
    of_draw.add_argument("--size", type=int, default=48)
    of_count.add_argument("prompts", type=Path)
    of_count.add_argument("samples", nargs="+", type=Path)
    given = parser.parse_args()
    if given.command == "draw":
        draw(given.folder, given.count, given.size)
    else:
        for folder in given.samples:
            for what, scores in count(given.prompts, folder).items():
                print(folder, what, *(f"{name} {x:.1%}" for name, x in scores.items()), sep="  ")
