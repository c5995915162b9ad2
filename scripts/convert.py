"""Brings the weights of a first stage or of a whole model in or out.

python scripts/convert.py CHECKPOINT RUN [--config CONFIG.py]
    a file of the original code (.ckpt, .pth, .pt, .bin, .safetensors), either of the two files of
    a tiny autoencoder, a Stable Diffusion checkpoint, whose first stage is taken, or a folder of
    diffusers becomes a run; what it is, is read from its keys and shapes or its config.json, or
    said by CONFIG.py
python scripts/convert.py CHECKPOINT RUN --config configs/ldm/NAME.py [--tokenizer FILE]
    a whole model of the original code becomes the run of a diffusion model; so does Stable
    Diffusion, with configs/sd/NAME.py
python scripts/convert.py CLIP RUN [--tokenizer FILE]
    both encoders of a CLIP, a file or a folder in the layout of transformers, OpenCLIP or OpenAI,
    become a run
python scripts/convert.py KARLO RUNS [--tokenizer FILE]
    a folder of Karlo's files, of its authors or of diffusers, becomes the runs of prior, decoder
    and upsampler; with RUNS and FOLDER, these become a folder of diffusers
python scripts/convert.py RUN NAME.safetensors (or NAME.ckpt)
    writes the weights as the original code names them
python scripts/convert.py RUN FOLDER
    writes config.json and the weights as diffusers reads them, or transformers those of a CLIP
python scripts/convert.py RUN --adapter RUN_OR_FILE[:SCALE] ... OUT
    writes the run, or where OUT is NAME.safetensors or NAME.ckpt the file, of a model with adapters
    merged into its weights
python scripts/convert.py RUN NAME.safetensors
    writes the adapter that a run has trained, in its settings' layout; a folder in PEFT's
python scripts/convert.py RUN FOLDER
    writes a ControlNet or a T2I-Adapter that a run has trained as diffusers reads it
"""

if __name__ == "__main__":  # what is imported next takes seconds
    from ldm_jax.runtime import interrupt

    interrupt.end_on_interrupt()

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ldm_jax import cli, convert


@dataclass(frozen=True)
class Options:
    """The settings of convert.py."""

    config: str | None = None
    """an experiment whose first stage the checkpoint is, or all of it"""
    tokenizer: str | None = None
    """of a whole model of captions: tokenizer.json, or BERT's vocab.txt or CLIP's merges.txt"""
    averages: bool = True
    """draw samples of a whole model's averaged weights, where there are such"""
    adapter: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RUN_OR_FILE[:SCALE] ...")] = ()
    """runs or files of adapters that change the weights of a run, each with its scale"""


def main(words: Sequence[str]) -> None:
    """Parse, call."""
    names = "SOURCE DESTINATION"
    if words[1:2] == ["--adapter"] and len(words) > 3:  # the destination comes last
        words = [words[0], words[-1], *words[1:-1]]
    (source, destination), options = cli.arguments(Options(), words, names, "convert.py", __doc__)
    config = Path(options.config) if options.config else None
    tokenizer = Path(options.tokenizer) if options.tokenizer else None
    places = Path(source), Path(destination)
    convert.convert(*places, config, tokenizer, options.averages, options.adapter)


if __name__ == "__main__":
    cli.main(main)
