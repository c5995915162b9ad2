"""Captions through several text encoders, whose tokens and pooled embeddings are joined.

One encoder of a caption's words and one of its sentence (Saharia et al. 2022, Imagen; Nichol et al.
2022, GLIDE), two CLIPs (Podell et al. 2023, SDXL, section 2.1), or these and a T5 (Esser et al.
2024, Stable Diffusion 3, section 5.1).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from ldm_jax.conditioning.condition import BuildContext, Condition, DataInfo
from ldm_jax.conditioning.text import ENTRY, TABLE, Text, check_captioned
from ldm_jax.encoders.text_encoder import Encoded
from ldm_jax.errors import InputError
from ldm_jax.settings import Fraction
from ldm_jax.types import Array, Cond, Conditioner, Params

Join = Literal["features", "sequence"]


def entry(i: int) -> str:
    """The entry of a batch that the i-th encoder reads."""
    return f"{ENTRY}_{i}" if i else ENTRY


@dataclass(frozen=True)
class Captions(Condition):
    """Captions through several text encoders; each has its own tokenizer."""

    encoders: tuple[Text, ...] = (Text(),)  # of text, such as CLIPText()
    # how an encoder's tokens are joined to those before it: side by side in each token, or one
    # after the other, filled up with zeros to one width; one for all encoders but the first, or
    # one for each
    join: Join | tuple[Join, ...] = "features"
    pooled: tuple[int, ...] = ()  # whose pooled embeddings are joined as the vector, from 0
    drop: Fraction = 0.1  # how often training drops the captions

    kind: ClassVar = "captions"
    reads: ClassVar = (ENTRY,)
    has_weights: ClassVar = True
    square_only: ClassVar = False
    sections: ClassVar = Text.sections

    @property
    def frozen(self) -> bool:
        return self.encoders[0].frozen

    @property
    def from_file(self) -> bool:
        return any(one.from_file for one in self.encoders)

    @property
    def joins(self) -> tuple[Join, ...]:
        """How each encoder but the first is joined."""
        return (self.join,) * (len(self.encoders) - 1) if isinstance(self.join, str) else self.join

    @property
    def text_encoders(self) -> Mapping[str, Text]:
        return {entry(i): one for i, one in enumerate(self.encoders)}

    @property
    def token_tables(self) -> Mapping[str, tuple[str, ...]]:
        return {entry(i): (part(i), *TABLE) for i in range(len(self.encoders))}

    @property
    def vector_width(self) -> int | None:
        return sum(self.encoders[i].dim for i in self.pooled) or None

    @property
    def token_width(self) -> int | None:
        width = self.encoders[0].dim
        for one, join in zip(self.encoders[1:], self.joins, strict=True):
            width = width + one.dim if join == "features" else max(width, one.dim)
        return width

    def heads(self, prefix: str) -> list[tuple[str, int]]:
        each = enumerate(self.encoders)
        return [found for i, one in each for found in one.heads(f"{prefix}encoders.{i}.")]

    def check(self, prefix: str) -> None:
        count = len(self.encoders)
        if not count:
            raise InputError(f"{prefix}encoders is (): expected at least one, such as CLIPText()")
        if len(self.joins) != count - 1:
            raise InputError(
                f"{prefix}join is {self.join}: expected one for all encoders, or {count - 1}, one "
                "for each but the first"
            )
        for i, one in enumerate(self.encoders):
            self._check_encoder(one, f"{prefix}encoders.{i}.")
        length = self.encoders[0].length
        for i, join in enumerate(self.joins, 1):
            one = self.encoders[i]
            if join == "features" and one.length != length:
                raise InputError(
                    f"{prefix}encoders.{i}.length is {one.length}: expected {length}, as many "
                    "tokens as it is joined to by features"
                )
            length += one.length if join == "sequence" else 0
        for i in self.pooled:
            if not 0 <= i < count:
                raise InputError(
                    f"{prefix}pooled has {i}: expected 0 to {count - 1}, numbers of encoders"
                )

    def _check_encoder(self, one: Text, prefix: str) -> None:
        """Raises InputError for an encoder that does not go with the others."""
        one.check(prefix)
        if one.frozen != self.frozen:
            raise InputError(
                f"{prefix[:-1]} is {type(one).__name__}: expected encoders of which all or none "
                f"are trained, as {type(self.encoders[0]).__name__}"
            )
        if one.pooled or one.drop != type(one).drop:
            raise InputError(
                f"{prefix}pooled is {one.pooled} and {prefix}drop {one.drop}: expected their "
                "defaults, since pooled and drop of Captions count"
            )

    def fitted(self, info: DataInfo, prefix: str = "") -> Condition:
        check_captioned(info)
        return self

    def build(self, context: BuildContext) -> Conditioner:
        """Reads the tokens of each encoder, `batch[entry(i)]` [B, n_i] int32; the empty caption is
        the null of all."""
        named = self.text_encoders
        encoders = [one.encoder(context.tokenizers[name]) for name, one in named.items()]

        def init(key):
            keys = jax.random.split(key, len(encoders))
            each = zip(encoders, keys, strict=True)
            return {part(i): one.init(own) for i, (one, own) in enumerate(each)}

        def apply(params, inputs):
            each = [one.apply(params[part(i)], inputs[entry(i)]) for i, one in enumerate(encoders)]
            found = each[0]
            for one, join in zip(each[1:], self.joins, strict=True):
                found = JOIN[join](found, one)
            pooled = [each[i].pooled for i in self.pooled]
            vector = jnp.concatenate(pooled, axis=-1) if pooled else None
            return Cond(vector=vector, tokens=found.tokens, mask=found.mask)

        return Conditioner(
            apply=apply,
            null=lambda n, h=1, w=1: {entry(i): one.null(n) for i, one in enumerate(encoders)},
            keys=tuple(named),
            init=init,
            trained=not self.frozen,
        )

    def published(self) -> Params | None:
        found = {part(i): one.published() for i, one in enumerate(self.encoders)}
        return {name: own for name, own in found.items() if own is not None} or None

    def same_weights(self, other: Condition) -> bool:
        there = tuple(other.text_encoders.values())
        return len(there) == len(self.encoders) and all(
            one.same_weights(two) or not one.from_file
            for one, two in zip(self.encoders, there, strict=True)
        )

    def with_vocabulary(self, sizes: Mapping[str, int]) -> Condition:
        each = self.text_encoders.items()
        encoders = (replace(one, vocab_size=sizes.get(name, one.vocab_size)) for name, one in each)
        return replace(self, encoders=tuple(encoders))

    def takes(self, size: tuple[int, int]) -> str:
        return "--prompt TEXT"


def part(i: int) -> str:
    """What the params of the i-th encoder are called."""
    return f"encoder_{i}"


def by_features(a: Encoded, b: Encoded) -> Encoded:
    """Tokens [B, n, d] and [B, n, e] -> [B, n, d + e]; those count that count in either."""
    mask = None if a.mask is None or b.mask is None else a.mask | b.mask
    return Encoded(jnp.concatenate([a.tokens, b.tokens], axis=-1), mask=mask)


def by_sequence(a: Encoded, b: Encoded) -> Encoded:
    """Tokens [B, n, d] and [B, m, e] -> [B, n + m, max(d, e)], filled up with zeros."""
    width = max(a.tokens.shape[-1], b.tokens.shape[-1])

    def wide(x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (0, 0), (0, width - x.shape[-1])))

    def mask(x: Encoded) -> Array:
        return jnp.ones(x.tokens.shape[:2], bool) if x.mask is None else x.mask

    both = None
    if a.mask is not None or b.mask is not None:
        both = jnp.concatenate([mask(a), mask(b)], axis=1)
    return Encoded(jnp.concatenate([wide(a.tokens), wide(b.tokens)], axis=1), mask=both)


JOIN: Mapping[Join, Callable[[Encoded, Encoded], Encoded]] = {
    "features": by_features,
    "sequence": by_sequence,
}
