"""Weights of words in prompts, and prompts longer than the text encoder's token limit.

The notation of AUTOMATIC1111's web interface: (word) has weight 1.1, ((word)) 1.21, (word:1.3) 1.3
and [word] 1 / 1.1; nested weights are multiplied; \\( \\) \\[ \\] and \\\\ are literal.
"""

import re
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.errors import InputError
from ldm_jax.types import Conditioner

MORE = 1.1  # the weight of a pair of brackets
_PIECE = re.compile(
    r"\\[\\()\[\]]|[()\[\]]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[^\\()\[\]:]+|.", re.DOTALL
)
_CLOSES = {")": "(", "]": "["}


def parse(prompt: str) -> list[tuple[str, float]]:
    """Parts of a prompt and their weights.

    Raises:
        InputError: brackets that are not closed, or not opened.
    """
    parts: list[tuple[str, float]] = []
    opened: list[tuple[str, int]] = []  # brackets, and the part after each

    def close(bracket: str, weight: float) -> None:
        if not opened or opened[-1][0] != bracket:
            other = ")" if bracket == "(" else "]"
            raise InputError(
                f"prompt '{prompt}' has '{other}' without '{bracket}': expected both, or "
                f"'\\{other}' for itself"
            )
        start = opened.pop()[1]
        parts[start:] = [(text, weight * own) for text, own in parts[start:]]

    for found in _PIECE.finditer(prompt):
        piece = found[0]
        if piece in "([":
            opened.append((piece, len(parts)))
        elif found[1] is not None:
            close("(", float(found[1]))
        elif piece in _CLOSES:
            close(_CLOSES[piece], MORE if piece == ")" else 1 / MORE)
        else:
            parts.append((piece.removeprefix("\\") if len(piece) > 1 else piece, 1.0))
    if opened:
        bracket = opened[-1][0]
        raise InputError(
            f"prompt '{prompt}' has '{bracket}' that does not close: expected both, or "
            f"'\\{bracket}' for itself"
        )
    joined: list[tuple[str, float]] = []
    for text, weight in parts:  # parts of equal weight become one
        if joined and joined[-1][1] == weight:
            joined[-1] = (joined[-1][0] + text, weight)
        else:
            joined.append((text, weight))
    return joined


def pieces(tokenizer: Tokenizer, prompt: str, weighted: bool) -> tuple[list[int], list[float]]:
    """Tokens of a prompt without start and end, and their weights, of any number.

    Args:
        tokenizer: of CLIP, see `clip_tokenizer`.
        weighted: whether brackets set weights; otherwise they are ordinary characters.
    """
    whole, numbers, weights = _uncut(tokenizer), [], []
    for text, weight in parse(prompt) if weighted else [(prompt, 1.0)]:
        found = whole.encode(text, add_special_tokens=False).ids
        numbers += found
        weights += [weight] * len(found)
    return numbers, weights


@lru_cache(4)
def _uncut(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer without truncation or padding."""
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.no_truncation()
    whole.no_padding()
    return whole


def chunks(
    tokenizer: Tokenizer, prompt: str, weighted: bool, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and weights of a prompt in `count` chunks, each between start and end, [count, n].

    Longer prompts are cut; shorter ones are padded with empty chunks.
    """
    empty = tokens.encode(tokenizer, "")  # start, end, and padding
    n = len(empty) - 2
    numbers, weights = pieces(tokenizer, prompt, weighted)
    rows, scales = np.tile(empty, (count, 1)), np.ones((count, len(empty)), np.float32)
    for i in range(count):
        own, scale = (x[i * n : (i + 1) * n] for x in (numbers, weights))
        rows[i, 1 : len(own) + 1], scales[i, 1 : len(own) + 1] = own, scale
        rows[i, len(own) + 1] = empty[1]
    return rows, scales


def count_chunks(tokenizer: Tokenizer, prompt: str, weighted: bool) -> int:
    """The number of chunks that a prompt needs, at least one."""
    n = len(tokens.encode(tokenizer, "")) - 2
    return max(1, -(-len(pieces(tokenizer, prompt, weighted)[0]) // n))


def chunked(conditioner: Conditioner, count: int) -> Conditioner:
    """A text conditioner of `tokens` and `token_weights` [B, count, n].

    Each chunk is encoded separately, and the embeddings are joined along the sequence, [B, count n,
    d]. The embedding of a token is multiplied by its weight, and then all of a chunk by one factor
    that restores their mean.
    """

    def encode(params, inputs):
        return {**conditioner.encode(params, inputs), "token_weights": inputs["token_weights"]}

    def apply(params, inputs):
        ids, weights = inputs["tokens"], inputs["token_weights"]
        B, k, n = ids.shape
        cond = conditioner.apply(params, {**inputs, "tokens": ids.reshape(B * k, n)})
        x = cond.tokens.reshape(B, k, n, -1)
        weighted = x * weights[..., None]
        mean, now = (jnp.mean(y, axis=(2, 3), keepdims=True) for y in (x, weighted))
        weighted = jnp.where(
            jnp.all(weights == 1.0, axis=2)[..., None, None], x, weighted * mean / now
        )
        return cond.replace(tokens=weighted.reshape(B, k * n, -1))

    def null(n, h=1, w=1):
        plain = conditioner.null(n, h, w)
        ids = jnp.repeat(plain["tokens"][:, None], count, axis=1)
        return {**plain, "tokens": ids, "token_weights": jnp.ones(ids.shape)}

    return conditioner._replace(
        apply=apply,
        null=null,
        keys=(*conditioner.keys, "token_weights"),
        encode=encode if conditioner.encode else None,
        dropped=(*conditioner.droppable, "token_weights"),
    )
