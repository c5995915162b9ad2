"""A style for a LoRA to learn, and how often it is found: every object has a twin on the opposite
side of the image, of which captions say nothing (docs/adapters/lora.md).

python benchmarks/twins.py draw FOLDER [--count 64] [--size 48]
    images of twins with captions of the first, for train.py, and in FOLDER/prompts.txt captions of
    shapes in colors that none of the images has
python benchmarks/twins.py count SAMPLES...
    for each folder of sample.py: the share of images with the object of their caption alone, and
    with its twin
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ldm_jax.data import drawing
from ldm_jax.data.drawing import COLORS, POSITIONS, SHAPES, SIZES, Object, Scene
from ldm_jax.metrics.caption_accuracy import matches, read

PROMPTS = 100


def twins(first: Object) -> Scene:
    """An object, and the same at the other side of the center."""
    y, x = POSITIONS[first.position]
    at = {tuple(np.round(place, 3)): name for name, place in POSITIONS.items()}
    opposite = at[round(1 - y, 3), round(1 - x, 3)]
    return Scene((first, replace(first, position=opposite)))


def is_left_out(shape: str, color: str) -> bool:
    """Whether no image of the style has this shape in this color: one pair in four."""
    return (list(SHAPES).index(shape) + list(COLORS).index(color)) % 4 == 0


def drawn_objects(rng: np.random.Generator, left_out: bool):
    """Objects without end, never in the middle, whose twin would be themselves."""
    places = [name for name in POSITIONS if name != "center"]
    while True:
        each = (str(rng.choice(list(table))) for table in (SHAPES, COLORS, SIZES))
        found = Object(*each, str(rng.choice(places)))
        if is_left_out(found.shape, found.color) == left_out:
            yield found


def draw(folder: Path, count: int, size: int) -> None:
    folder.mkdir(parents=True)
    rng, rows = np.random.default_rng(0), []
    for i, first in zip(range(count), drawn_objects(rng, left_out=False), strict=False):
        scene = twins(first)
        layers = drawing.layers(scene, size, drawing.random_offsets(rng, scene))
        Image.fromarray(drawing.paint(layers, size)).save(folder / f"{i:03}.png")
        rows.append({"file_name": f"{i:03}.png", "text": drawing.caption(Scene((first,)))})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, "utf-8")
    prompts = zip(range(PROMPTS), drawn_objects(rng, left_out=True), strict=False)
    captions = [drawing.caption(Scene((one,))) for _, one in prompts]
    (folder / "prompts.txt").write_text("".join(f"{one}\n" for one in captions), "utf-8")


def count(folder: Path) -> dict[str, float]:
    """Shares of the images of a folder."""
    with np.load(folder / "samples.npz") as file:
        images = next(file[name] for name in file if file[name].ndim == 4)
    report = json.loads((folder / "report.json").read_text("utf-8"))
    captions = report["request"]["prompts"]["prompt"]
    found = {"alone": 0, "with its twin": 0}
    for image, text in zip(images, captions, strict=True):
        scene, objects = drawing.parse(text), read(image)
        found["alone"] += matches(scene, objects)
        found["with its twin"] += matches(twins(scene.objects[0]), objects)
    return {name: float(n / len(images)) for name, n in found.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    of_draw, of_count = commands.add_parser("draw"), commands.add_parser("count")
    of_draw.add_argument("folder", type=Path)
    of_draw.add_argument("--count", type=int, default=64)
    of_draw.add_argument("--size", type=int, default=48)
    of_count.add_argument("folders", nargs="+", type=Path)
    given = parser.parse_args()
    if given.command == "draw":
        draw(given.folder, given.count, given.size)
    else:
        for folder in given.folders:
            print(folder, count(folder))
