"""Words that the demonstration does not know: images that show them, and how often samples do.

    python -m benchmarks.new_words images WORD FOLDER     5 images with captions, to learn it from
    python -m benchmarks.new_words prompts WORD           all captions with it, a line each
    python -m benchmarks.new_words score SAMPLES ...      of folders that sample.py wrote

Each word is a color that no training scene has, far enough from all that there are for the reader
of caption accuracy to tell it from them; `sks` is that of one thing, a star.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np

from ldm_jax.data import drawing, image_files
from ldm_jax.data.drawing import Object, Scene
from ldm_jax.metrics.caption_accuracy import caption_scores

WORDS = {"teal": (20, 150, 140), "sks": (245, 130, 20)}
SHAPES = {"teal": list(drawing.SHAPES), "sks": ["star"]}
# where the images show it, and how large
SHOWN = (
    ("top left", "large"),
    ("center", "small"),
    ("bottom", "large"),
    ("right", "small"),
    ("bottom right", "large"),
)
SIZE = 48
drawing.COLORS |= WORDS


def images(word: str, folder: Path) -> None:
    """Writes the images and their captions."""
    rng, rows = np.random.default_rng(0), []
    for i, ((position, size), shape) in enumerate(zip(SHOWN, itertools.cycle(SHAPES[word]))):
        scene = Scene((Object(shape, word, size, position),))
        layers = drawing.layers(scene, SIZE, drawing.random_offsets(rng, scene))
        image_files.save(folder / f"{i}.png", drawing.paint(layers, SIZE))
        rows.append({"file_name": f"{i}.png", "text": drawing.caption(scene)})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, "utf-8")


def prompts(word: str) -> list[str]:
    """The captions of all scenes of one thing of this word, but for those that images show."""
    shapes = SHAPES[word]
    shown = {(*place, shape) for place, shape in zip(SHOWN, itertools.cycle(shapes))}
    every = itertools.product(drawing.POSITIONS, drawing.SIZES, shapes)
    return [
        drawing.caption(Scene((Object(shape, word, size, position),)))
        for position, size, shape in every
        if (position, size, shape) not in shown
    ]


def score(folder: Path) -> dict[str, float]:
    """The share of samples that show what their prompts say."""
    with np.load(folder / "samples.npz") as file:
        samples = file["arr_0" if "arr_0" in file else file.files[0]]
    report = json.loads((folder / "report.json").read_text("utf-8"))
    asked = report["request"]["prompts"]["prompt"]
    return caption_scores(samples, [asked[i % len(asked)] for i in range(len(samples))])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("images", "prompts", "score"))
    parser.add_argument("of", nargs="+")
    options = parser.parse_args()
    if options.task == "images":
        images(options.of[0], Path(options.of[1]))
    elif options.task == "prompts":
        print("\n".join(prompts(options.of[0])))
    else:
        for folder in options.of:
            found = {name: f"{x:.1%}" for name, x in score(Path(folder)).items()}
            print(folder, *(f"{name} {x}" for name, x in found.items()), sep="  ")
