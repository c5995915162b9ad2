"""Measures a run.

python scripts/evaluate.py captions RUN [--num 200] [--out DIR] [sampling options]
    draws pictures for captions of `shapes` whose combinations of shape, color and position were
    held out from training, reads them, and prints the share that shows all that its caption says
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ldm_jax import cli, pictures, request, runs
from ldm_jax.data import pipeline
from ldm_jax.errors import InputError
from ldm_jax.metrics.caption_accuracy import caption_scores


@dataclass(frozen=True)
class Captions:
    """The settings of `captions`; what is None is as the run's config has it."""

    out: str | None = None
    """folder to write to; RUN/captions where not given"""
    num: int = 200
    batch_size: int = 50
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None


def captions(run: Path, words: Sequence[str]) -> None:
    """Caption accuracy on held-out combinations."""
    options = cli.override(Captions(), words, "evaluate.py captions RUN", __doc__)
    trained = runs.load(run)
    data = replace(trained.experiment.data, split="test")
    if data.path != "shapes":
        raise InputError(
            f"run '{run}' was trained on '{data.path}': caption accuracy can only be read from "
            "pictures of shapes, where every attribute is known"
        )
    source, info = pipeline.open_source(data)
    if options.num > info.num_examples:
        raise InputError(
            f"--num is {options.num}: expected at most {info.num_examples}, the held-out captions"
        )
    texts = pipeline.captions(source, options.num)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    wanted = request.resolve(trained, **settings, prompt=texts)
    images = request.draw(trained, wanted)
    scores = caption_scores(images, texts)
    out = Path(options.out or run / "captions")
    request.write(out, images, trained, wanted)
    shown = min(len(images), 24)
    pictures.save(out / "grid.png", pictures.captioned(images[:shown], texts[:shown]))
    (out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    for name, value in scores.items():
        if name != "caption":
            print(f"{name + ' accuracy:':18} {value:6.1%}")
    print(f"grid: {out / 'grid.png'}")
    print(f"caption accuracy: {scores['caption']:.1%}")


def main(words: Sequence[str]) -> None:
    """Parse, call."""
    tools = {"captions": captions}
    if "--help" in words[:1] or "-h" in words[:1]:
        print(__doc__)
        return
    if len(words) < 2 or words[0] not in tools:
        raise InputError(
            f"'{' '.join(words[:1])}' is no evaluation: expected python scripts/evaluate.py "
            f"{{{','.join(tools)}}} RUN"
        )
    tools[words[0]](Path(words[1]), words[2:])


if __name__ == "__main__":
    cli.main(main)
