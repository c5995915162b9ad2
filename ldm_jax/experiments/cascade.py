"""Several trained models in a row, each fed by the images of the one before.

A cascade trains nothing: each stage is a run, trained alone (Ho et al. 2022, "Cascaded Diffusion
Models for High Fidelity Image Generation").
"""

from dataclasses import dataclass

from ldm_jax.diffusion.sampling import Sampling
from ldm_jax.errors import InputError
from ldm_jax.settings import AtLeast1


@dataclass(frozen=True)
class Stage:
    """One model of a cascade."""

    run: str  # that trained it
    # the entry of the next stage's batch that it draws, such as low_resolution, or image_embedding
    # of a prior; None: its images are those of the cascade
    feeds: str | None = None
    sampling: Sampling | None = None  # None: as its own config has it
    batch_size: AtLeast1 | None = None  # images at once; None: 16, or fewer where there are fewer
    # of a prior: of how many embeddings that most similar to its caption's is kept (DALL-E 2: 2)
    draws: AtLeast1 = 1


@dataclass(frozen=True)
class Cascade:
    """The stages in order of sampling; the last draws the result."""

    stages: tuple[Stage, ...] = ()

    def check(self, prefix: str = "") -> None:
        """Raises InputError for stages that do not follow one another."""
        if not self.stages:
            raise InputError(f"{prefix}stages is (): expected at least one Stage(run=RUN)")
        for i, stage in enumerate(self.stages[:-1]):
            if stage.feeds is None:
                raise InputError(
                    f"{prefix}stages.{i}.feeds is None: expected the entry of the next stage's "
                    "batch that its images are, such as low_resolution"
                )
        last = self.stages[-1]
        if last.feeds is not None:
            raise InputError(
                f"{prefix}stages.{len(self.stages) - 1}.feeds is '{last.feeds}': leave it out, "
                "since no stage follows"
            )
