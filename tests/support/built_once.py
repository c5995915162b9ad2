"""Models are built, and what draws from them is made, once in a process and not once a request.

What `make_generate` compiles for a request then serves all that differ in numbers alone, as it does
for all batches of one request.
"""

import functools

from ldm_jax.experiments.diffusion import Experiment
from ldm_jax.sampling import cascade, drawing
from ldm_jax.sampling.generate import OWN

_models: dict = {}
_generates: dict = {}


def _build_once(build):
    @functools.wraps(build)
    def once(self, tokenizers=None):
        given = sorted((tokenizers or {}).items())
        key = (self, tuple((name, words and hash(words.to_str())) for name, words in given))
        try:
            found = _models.get(key)
        except TypeError:  # settings that cannot be hashed
            return build(self, tokenizers)
        return found or _models.setdefault(key, build(self, tokenizers))

    return once


def _generate_once(make):
    @functools.wraps(make)
    def once(model, sampler, size, schedule="constant", shown=OWN, guides=()):
        if guides or shown != OWN:
            return make(model, sampler, size, schedule, shown, guides)
        key = (id(model), sampler, size, schedule)
        if key not in _generates:  # and the model is kept, so that no other has its id
            _generates[key] = model, make(model, sampler, size, schedule=schedule)
        return _generates[key][1]

    return once


def forget() -> None:
    """Gives up what is kept."""
    _models.clear()
    _generates.clear()


def use() -> None:
    """For all tests of this process."""
    Experiment.build = _build_once(Experiment.build)
    drawing.make_generate = cascade.make_generate = _generate_once(drawing.make_generate)
