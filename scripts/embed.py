"""Embeds the images of a config's data: what a model of retrieval looks its neighbours up in.

python scripts/embed.py CONFIG.py OUT.npy [--extractor mobilenet] [--data.path FOLDER ...]
    writes OUT.npy, float32 [N, d], a row for each image in the order of the data
"""

if __name__ == "__main__":  # what is imported next takes seconds
    from ldm_jax.runtime import interrupt

    interrupt.end_on_interrupt()

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ldm_jax import cli
from ldm_jax.config import Data, ExtractorName
from ldm_jax.tools.embed import embed


@dataclass(frozen=True)
class Options:
    """The settings of embed.py."""

    extractor: ExtractorName = "mobilenet"
    """the network whose features the embeddings are"""
    weights: str | None = None
    """a file with its weights; looked for, and fetched, where not given"""
    batch_size: int = 32
    """images that it sees at once"""
    data: Data = field(default_factory=Data)
    """which images, and how they are prepared; as CONFIG.py has it where not given"""


def main(words: Sequence[str]) -> None:
    """Parse, call."""
    (config, out), rest = cli.places(words, "CONFIG.py OUT.npy", "scripts/embed.py")
    defaults = Options(data=cli.load_config(config).data) if config else Options()
    options = cli.override(defaults, rest, "embed.py CONFIG.py OUT.npy", __doc__)
    embed(options.data, Path(out), options.extractor, options.weights, options.batch_size)


if __name__ == "__main__":
    cli.main(main)
