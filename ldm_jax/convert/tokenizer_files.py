"""CLIP's tokenizer among the files of others."""

import json
from pathlib import Path

from tokenizers import Tokenizer

from ldm_jax.conditioning.clip_text import CLIPText
from ldm_jax.convert.paths import as_json
from ldm_jax.encoders.clip.model import CLIPModel
from ldm_jax.encoders.tokenizers import clip

NAMES = ("tokenizer.json", "merges.txt")  # either says all that is needed


def find_tokenizer(folder: Path) -> Path | None:
    """The file of a tokenizer in a folder; None where there is none."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def write_tokenizer(folder: Path, pieces: Tokenizer, reader: CLIPText | CLIPModel) -> None:
    """Writes a tokenizer as transformers reads it: tokenizer.json, vocab.json, merges.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    saved = json.loads(pieces.to_str())
    saved |= {"truncation": None, "padding": None}
    merges = [
        pair if isinstance(pair, str) else " ".join(pair) for pair in saved["model"]["merges"]
    ]
    (folder / "tokenizer.json").write_text(as_json(saved), "utf-8")
    (folder / "vocab.json").write_text(as_json(saved["model"]["vocab"]), "utf-8")
    table = "".join(f"{pair}\n" for pair in ("#version: 0.2", *merges))
    (folder / "merges.txt").write_text(table, "utf-8")
    fills = clip.END if reader.weights == "openai" else "!"
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": reader.length,
        "bos_token": clip.START,
        "eos_token": clip.END,
        "unk_token": clip.END,
        "pad_token": fills,
    }
    (folder / "tokenizer_config.json").write_text(as_json(settings), "utf-8")
