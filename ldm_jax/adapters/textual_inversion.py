"""Textual inversion: vectors of a new word in the table of a text encoder (Gal et al. 2022).

    v = argmin E |eps - eps_theta(z_t, t, c(v))|^2        (eq. 2)

The model stays as it is, and what trains is the vectors alone, which are appended to the table. In
a prompt the word becomes as many tokens as it has vectors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from ldm_jax.adapters.settings import AdapterSettings, Arrays, Base
from ldm_jax.encoders.tokenizers import words
from ldm_jax.errors import InputError
from ldm_jax.runtime.files import whole
from ldm_jax.settings import AtLeast1
from ldm_jax.types import Adapter, Array, Params
from ldm_jax.weights.formats.torch_writer import write_tree
from ldm_jax.weights.names import textual_inversion as names
from ldm_jax.weights.names.condition import part


@dataclass(frozen=True)
class TextualInversion(AdapterSettings):
    """A new word for all text encoders of a model."""

    token: str | None = None  # the word, such as <toy>; None: the adapter's name
    # words whose vectors it begins with, spread over its own; "": drawn as the table's are
    initial: str = ""
    vectors: AtLeast1 = 1  # of the word, and so the tokens that it takes of a prompt
    keep_norm: bool = False  # vectors keep the lengths that they begin with
    existing: bool = False  # the word may be one that there is, and then takes its place

    kind: ClassVar = "an embedding of textual inversion"
    has_window: ClassVar = False

    def check(self, base: Base, prefix: str = "adapter.") -> None:
        encoders = base.experiment.text_encoders
        if not encoders:
            raise InputError(f"{prefix[:-1]} is {self.kind}: expected a base with a text encoder")
        for entry, tokenizer in _tokenizers(base).items():
            if not (self.token and words.numbers(tokenizer, self.token)):  # of a base not yet read
                self._check_token(tokenizer, prefix)
            most = encoders[entry].length - 2
            if self.vectors > most:
                raise InputError(
                    f"{prefix}vectors is {self.vectors}: expected at most {most}, the tokens of a "
                    "prompt"
                )
            if tokenizer.token_to_id("[UNK]") in words.pieces(tokenizer, self.initial):
                raise InputError(
                    f"{prefix}initial is '{self.initial}': expected words that the base knows"
                )

    def _check_token(self, tokenizer: Tokenizer, prefix: str) -> None:
        """Raises InputError unless the word is a new one."""
        if self.token is None:
            raise InputError(f"{prefix}token is None: expected a new word, such as '<toy>'")
        words.check_word(tokenizer, self.token, f"{prefix}token")
        added = words.numbers(tokenizer, self.token)
        if added or (words.is_word(tokenizer, self.token) and not self.existing):
            raise InputError(
                f"{prefix}token is '{self.token}', which is a word of the base already: "
                f"expected a new one, such as '<{self.token.strip('<>')}-1>'"
            )

    def named(self, name: str) -> Self:
        return replace(self, token=self.token or name)

    def read(self, base: Base) -> Base:
        """The base with the word in its tokenizers, and room for its vectors in their tables."""
        known = _tokenizers(base)
        for entry, one in known.items():
            self._check_token(one, "adapter.")
            known[entry] = words.add_word(one, self.token, self.vectors)
        sizes = {
            entry: max(one.get_vocab_size(), base.experiment.text_encoders[entry].vocab_size or 0)
            for entry, one in known.items()
        }
        conditions = tuple(one.with_vocabulary(sizes) for one in base.experiment.conditions)
        experiment = replace(base.experiment, conditions=conditions)
        tokenizers = {**base.tokenizers, **known}
        return base._replace(
            experiment=experiment, model=experiment.build(tokenizers), tokenizers=tokenizers
        )

    def build(self, base: Base) -> Adapter:
        return textual_inversion(self, base)

    @classmethod
    def of_file(
        cls, arrays: Arrays, metadata: Mapping[str, str], base: Base
    ) -> tuple[Self, Params] | None:
        found = names.read(arrays, metadata)
        if found is None:
            return None
        encoders = base.experiment.text_encoders
        widths = [x.shape[1] for x in found.vectors], [one.dim for one in encoders.values()]
        if widths[0] != widths[1]:
            there, here = (" and ".join(map(names.width, one)) or "none" for one in widths)
            raise InputError(
                f"the vectors of the embedding are {there} wide: expected {here}, as the base has "
                "them"
            )
        counts = sorted({len(x) for x in found.vectors})
        if len(counts) > 1:
            raise InputError(
                f"the embedding has {counts[0]} vectors and {counts[1]}: expected one number for "
                "both text encoders"
            )
        own = {e: {"vectors": x} for e, x in zip(encoders, found.vectors, strict=True)}
        return cls(token=found.word, vectors=counts[0], existing=found.existing), own

    def write(self, path: Path, own: Params, base: Base) -> Arrays:
        """diffusers' file, or AUTOMATIC1111's of a base with one text encoder."""
        if path.suffix != ".pt" or len(base.experiment.text_encoders) != 1:
            return super().write(path, own, base)
        ((_, only),) = own.items()
        vectors = np.asarray(learned(only))
        with whole(path) as unfinished, unfinished.open("wb") as file:
            write_tree(file, names.automatic1111(self.token, vectors))
        return {self.token: vectors}

    def to_file(self, own: Params, base: Base) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        vectors = [np.asarray(learned(own[entry])) for entry in base.experiment.text_encoders]
        return names.safetensors(self.token, vectors), {"format": "pt"}


def textual_inversion(config: TextualInversion, base: Base) -> Adapter:
    """The adapter, for a base that knows the word.

    Its own params are, for each text encoder by the entry of a batch that it reads, "vectors" [n,
    d], and their lengths "norm" [n] where these are kept.
    """
    places = tables(base)
    numbers = {entry: words.numbers(base.tokenizers[entry], config.token) for entry in places}

    def init(key: Array, params: Params) -> Params:
        own = {}
        for i, (entry, path) in enumerate(places.items()):
            table = jnp.asarray(_at(params, path), jnp.float32)
            known = words.pieces(base.tokenizers[entry], config.initial)
            n, one = len(numbers[entry]), jax.random.fold_in(key, i)
            if known:  # the first of them for the first vectors, and so on
                vectors = table[jnp.asarray([known[j * len(known) // n] for j in range(n)])]
            else:
                drawn = jax.random.normal(one, (n, table.shape[1]))
                vectors = jnp.mean(table, 0) + jnp.std(table, 0) * drawn
            norm = {"norm": jnp.linalg.norm(vectors, axis=1)} if config.keep_norm else {}
            own[entry] = {"vectors": vectors, **norm}
        return own

    def weights(own: Params, params: Params, scale) -> Params:
        for entry, path in places.items():
            table, first = _at(params, path), numbers[entry][0]
            vectors = (scale * learned(own[entry])).astype(table.dtype)
            more = first + len(vectors) - len(table)
            table = jnp.pad(table, ((0, max(0, more)), (0, 0)))
            params = _with(params, path, table.at[first : first + len(vectors)].set(vectors))
        return params

    return Adapter(init, weights=weights)


def learned(own: Params) -> Array:
    """The vectors [n, d] of a text encoder; of kept lengths, their directions alone train."""
    vectors = own["vectors"]
    if "norm" not in own:
        return vectors
    norm = jax.lax.stop_gradient(own["norm"])[:, None]
    return norm * vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)


def tables(base: Base) -> dict[str, tuple[str, ...]]:
    """Entry of a batch -> where in a model's params the table of its text encoder is."""
    return {
        entry: ("conditioner", *([part(i)] if i else []), *path)
        for i, condition in enumerate(base.experiment.conditions)
        for entry, path in condition.token_tables.items()
    }


def _tokenizers(base: Base) -> dict[str, Tokenizer]:
    return {entry: base.tokenizers[entry] for entry in base.experiment.text_encoders}


def _at(params: Params, path: tuple[str, ...]) -> Array:
    for name in path:
        params = params[name]
    return params


def _with(params: Params, path: tuple[str, ...], leaf: Array) -> Params:
    """A tree with another leaf at a path."""
    if not path:
        return leaf
    return {**params, path[0]: _with(params[path[0]], path[1:], leaf)}
