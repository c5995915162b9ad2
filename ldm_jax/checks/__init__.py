"""Whether the numbers of a config can be, and go together; asked before any work.

ranges.py       what a number may be, by the name of its field
first_stage.py  diffusion.py  classifier.py  clip.py   whether an experiment's parts go together
condition.py    of a diffusion model, its condition; process.py: what noises it, and its loss
shared.py       what is asked of more than one kind
"""

from ldm_jax.checks.classifier import check_classifier
from ldm_jax.checks.clip import check_clip
from ldm_jax.checks.diffusion import check_diffusion
from ldm_jax.checks.first_stage import check_first_stage
from ldm_jax.checks.ranges import check_ranges

__all__ = [
    "check_classifier",
    "check_clip",
    "check_diffusion",
    "check_first_stage",
    "check_ranges",
]
