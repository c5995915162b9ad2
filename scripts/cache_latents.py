"""Encodes images once, so that training on their latents need not.

python scripts/cache_latents.py RUN DATA OUT [options]
    encodes the images of DATA (a folder, tfds:NAME or shapes) and their mirror images with the
    first stage of RUN, a first stage's or a diffusion model's, and writes means and log-variances,
    captions and labels into array_record shards. The same command goes on where it stopped; on
    several hosts each writes shards of its own. With --embed-text MODEL, encodings of captions by
    the frozen text encoder of a diffusion model's run (Stable Diffusion's CLIP) are written, too.

python train.py CONFIG.py --data.path OUT --first-stage.run RUN
    then trains on them; latents are drawn at each use, as from the images. With --init-from
    MODEL the text encoder does not run.
"""

if __name__ == "__main__":  # what is imported next takes seconds
    from ldm_jax.runtime import interrupt

    interrupt.end_on_interrupt()

from collections.abc import Sequence
from pathlib import Path

from ldm_jax import cli
from ldm_jax.tools.cache_latents import cache_latents


def main(words: Sequence[str]) -> None:
    """Parse, call."""
    (run, data, out), rest = cli.places(words, "RUN DATA OUT", "scripts/cache_latents.py")
    cache_latents(Path(run), data, Path(out), rest, __doc__)


if __name__ == "__main__":
    cli.main(main)
