"""Samplers: each file is one method for a step from z_t to z_s; `loop.py` repeats it."""
