"""Samplers: each file is one way to walk from noise to data; `loop.py` walks it."""
