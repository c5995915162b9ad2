"""CLIP's token numbers of 10,000 captions: here, in transformers, and in instant-clip-tokenizer.

python -m tests.parity.make.captions          (pip install instant-clip-tokenizer)

Captions of mixed scripts, emoji, punctuation, spaces of every kind, over-long and empty ones, drawn
from a seed. transformers fills up and cuts them itself (`padding="max_length"`); the third is an
implementation of its own, in Rust, which neither fills up nor cuts. It leaves out two steps that
the other two share, and is asked about what they have made: Unicode's composed form, and any
whitespace as one space.
"""

import json
import random
import unicodedata

import numpy as np
from instant_clip_tokenizer import Tokenizer
from transformers import CLIPTokenizer

from ldm_jax.encoders.tokenizers import clip
from ldm_jax.encoders.tokenizers import tokenizer as tokens

COUNT, LENGTH = 10_000, 77
SCRIPTS = {
    "latin": (0x41, 0x24F),
    "greek": (0x370, 0x3FF),
    "cyrillic": (0x400, 0x4FF),
    "hebrew": (0x5D0, 0x5EA),
    "arabic": (0x620, 0x64A),
    "devanagari": (0x904, 0x939),
    "thai": (0xE01, 0xE3A),
    "hangul": (0xAC00, 0xD7A3),
    "kana": (0x3041, 0x30FF),
    "han": (0x4E00, 0x9FFF),
    "digits": (0x30, 0x39),
    "punctuation": (0x21, 0x2F),
    "symbols": (0x2190, 0x26FF),
    "emoji": (0x1F300, 0x1F6FF),
}
ENGLISH = "a an the photo of painting dog cat's don't I'm we'll they've red 2 1984 3.14 riding C++"
OTHERS = "(dog:1.2) 8k far-off; café naïve Œuvre ﬁne Ⅷ ½ e\u0301 👩‍🚀 🏳️‍🌈 ❤️ #tag @user … — “quoted”"
MARK = clip.START  # where a caption has it, the third does not see the mark in it
WORDS = [*ENGLISH.split(), *OTHERS.split(), "https://example.org/?q=1&r=2", MARK]
SPACES = [" ", "  ", "\t", "\n", "\u00a0", "\u3000", " \n "]


def captions() -> list[str]:
    """COUNT captions, the first empty."""
    draw = random.Random(0)

    def word() -> str:
        if draw.random() < 0.5:
            return draw.choice(WORDS)
        low, high = SCRIPTS[draw.choice(list(SCRIPTS))]
        letters = (chr(draw.randint(low, high)) for _ in range(draw.randint(1, 8)))
        return "".join(c for c in letters if unicodedata.category(c) != "Cn")

    def caption() -> str:
        length = draw.choice((0, 1, 3, 8, 15, 120))
        return "".join(word() + draw.choice(SPACES) for _ in range(length))

    return ["", " ", *(caption() for _ in range(COUNT - 2))]


def main() -> None:
    """Prints how many agree, and the shortest that do not."""
    texts = captions()
    made = clip.load(None, LENGTH, "openai")
    ours = [tokens.encode(made, text).tolist() for text in texts]
    table = json.loads(made.to_str())["model"]
    end = table["vocab"][clip.END]
    print(f"{COUNT} captions, {np.mean([row[-2] != end for row in ours]):.0%} of them over-long")

    merges = [tuple(pair) for pair in table["merges"]]
    reference = CLIPTokenizer(vocab=table["vocab"], merges=merges, model_max_length=LENGTH)
    theirs = reference(texts, padding="max_length", truncation=True)["input_ids"]
    report("transformers", texts, ours, theirs)

    made = clip.load(None, LENGTH, "openclip")
    texts = [text for text in texts if MARK not in text]
    ours = [tokens.encode(made, text).tolist() for text in texts]
    composed = [" ".join(unicodedata.normalize("NFC", text).split()) for text in texts]
    theirs = Tokenizer().tokenize_batch(composed, context_length=LENGTH).tolist()
    report("instant-clip-tokenizer", texts, ours, theirs)


def report(name: str, texts: list[str], ours: list, theirs: list) -> None:
    """Prints agreement."""
    odd = [text for text, a, b in zip(texts, ours, theirs, strict=True) if a != b]
    odd.sort(key=len)
    print(
        f"{name}: {len(texts) - len(odd)} of {len(texts)} the same",
        *map(ascii, odd[:5]),
        sep="\n  ",
    )


if __name__ == "__main__":
    main()
