"""How the images that an evaluation measures are drawn."""

from dataclasses import dataclass, field
from typing import Any

from ldm_jax.sampling.guidance import Guidance
from ldm_jax.sampling.request import asked
from ldm_jax.sampling.sampler import Sampler
from ldm_jax.sections import Request, RunView


@dataclass(frozen=True)
class Drawing:
    """What a request of `sample.py` says; what is not given is as the run's config has it."""

    seed: int = 0
    """seed of the first image"""
    sampler: Sampler = field(default_factory=Sampler)
    guidance: Guidance = field(default_factory=Guidance)

    def request(self, run: RunView, **options: Any) -> Request:
        """The request of these and of further options by name.

        Raises:
            InputError: what the model cannot be asked for.
        """
        found = asked(run, seed=self.seed, **options)
        return found.with_section(self.sampler).with_section(self.guidance).filled(run)
