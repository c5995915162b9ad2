"""Caption accuracy: which held-out captions are drawn correctly."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from ldm_jax import runs, sampling
from ldm_jax.data import image_files, pipeline
from ldm_jax.errors import InputError
from ldm_jax.evaluate import held_out
from ldm_jax.metrics.caption_accuracy import caption_scores
from ldm_jax.sampling.view import view
from ldm_jax.settings import check_within


@dataclass(frozen=True)
class Options(held_out.Options):
    """The settings of `captions`."""

    num: int = 200
    """held-out captions"""


def captions(run: str, options: Options) -> None:
    """Draws images for held-out captions of `shapes`, detects attributes, prints scores."""
    trained = runs.load(Path(run))
    data = replace(trained.experiment.data.seen_from(trained.run), split="test")
    if data.path != "shapes":
        raise InputError(
            f"run '{run}' was trained on '{data.path}': caption accuracy can only be read from "
            "images of shapes, where every attribute is known"
        )
    source, info = pipeline.open_source(data)
    check_within(options.num, "--num", 1, info.num_examples, "the held-out captions")
    texts = pipeline.captions(source, options.num)
    num, size = options.num, options.batch_size
    request = options.request(view(trained), num=num, batch_size=size, prompt=texts)
    drawn = sampling.draw(trained, request)
    images = drawn.images
    scores = caption_scores(images, texts)
    out = Path(options.out or runs.folder(run) / "captions")
    sampling.write(out, drawn, trained, request)
    shown = min(len(images), 24)
    image_files.save(out / "grid.png", image_files.captioned(images[:shown], texts[:shown]))
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n", "utf-8")
    for name, value in scores.items():
        if name != "caption":
            print(f"{name + ' accuracy:':18} {value:6.1%}")
    print(f"grid: {out / 'grid.png'}")
    print(f"caption accuracy: {scores['caption']:.1%}")
