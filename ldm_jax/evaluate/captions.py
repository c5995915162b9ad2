"""Caption accuracy: which held-out captions are drawn correctly."""

from dataclasses import dataclass, replace

from ldm_jax.data import image_files, pipeline
from ldm_jax.errors import InputError
from ldm_jax.evaluate import held_out, results
from ldm_jax.metrics.caption_accuracy import caption_scores
from ldm_jax.settings import AtLeast1, check_within


@dataclass(frozen=True)
class Options(held_out.Options):
    """The settings of `captions`."""

    num: AtLeast1 = 200
    """held-out captions"""


def captions(run: str, options: Options) -> None:
    """Draws images for held-out captions of `shapes`, detects attributes, prints scores."""
    described = options.described(run)
    data = replace(described.experiment.data.seen_from(described.run), split="test")
    if data.path != "shapes":
        raise InputError(
            f"run '{run}' was trained on '{data.path}': caption accuracy can only be read from "
            "images of shapes, where every attribute is known"
        )
    source, info = pipeline.open_source(data)
    num = options.num
    check_within(num, "--num", 1, info.num_examples, "the held-out captions")
    texts, out = pipeline.captions(source, num), results.folder_of(options.out, run, "captions")
    images = held_out.draw(described, options, out, num, prompt=texts)
    scores = caption_scores(images, texts)
    image_files.save(out / "grid.png", image_files.captioned(images[:24], texts[:24]))
    results.write_json(out / "scores.json", scores)
    for name, value in scores.items():
        if name != "caption":
            print(f"{name + ' accuracy:':18} {value:6.1%}")
    print(f"grid: {out / 'grid.png'}")
    print(f"caption accuracy: {scores['caption']:.1%}")
