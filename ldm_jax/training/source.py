"""Opened data, and the batches that training takes from it."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
from tokenizers import Tokenizer

from ldm_jax.data import pipeline
from ldm_jax.data.reader import NOTHING, Derive
from ldm_jax.data.settings import Data
from ldm_jax.encoders.tokenizers import tokenizer as tokens
from ldm_jax.runtime import hosts

COMPARED = 1000  # examples whose names, labels and captions hosts compare


class Source(NamedTuple):
    """Opened data: records, and what is known of them.

    derive: what conditions are made of, see `pipeline.batches`
    """

    records: object
    info: pipeline.DataInfo
    derive: Mapping[str, Derive] = NOTHING


def open_source(data: Data) -> Source:
    """Opens data; what has to be prepared on disk for it, one host of all prepares."""
    with hosts.agreement() as facts:
        with hosts.first_before_others():
            source = Source(*pipeline.open_source(data))
        facts |= _facts(source)
    return source


def _facts(source: Source) -> dict[str, Any]:
    """What of the data all hosts must have; of examples, that of some spread over all."""
    if jax.process_count() == 1:
        return {}
    info, count = source.info._asdict(), source.info.num_examples
    some = [source.records[i] for i in range(0, count, -(-count // COMPARED))]
    named = [[one.get(field) for field in ("name", "label", "text")] for one in some]
    return {f"data {name}": x for name, x in info.items()} | {"names of images": named}


def batches_of(
    data: Data,
    source: Source,
    seed: int,
    keys: tuple = (),
    tokenizers: Mapping[str, Tokenizer] = NOTHING,
    whole: bool = False,
):
    """The batches of this host, or where `whole` those of all hosts, the same on each."""
    return pipeline.batches(
        data,
        source.records,
        seed=seed,
        keys=keys,
        derive=source.derive,
        tokenize={name: partial(tokens.encode, one) for name, one in tokenizers.items()},
        process_index=0 if whole else jax.process_index(),
        process_count=1 if whole else jax.process_count(),
    )
