"""The ranges of a config's fields, see `ldm_jax/settings.py`."""

from ldm_jax.settings import check_ranges

__all__ = ["check_ranges"]
