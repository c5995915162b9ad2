"""Whether the parts of a diffusion model's experiment go together; asked before any work.

diffusion.py   the whole
condition.py   its condition; process.py: what noises it, and its loss
"""

from ldm_jax.checks.diffusion import check_diffusion

__all__ = ["check_diffusion"]
