"""Adapters: changes of a trained model by weights of their own, a file each.

adapter.py   from a model and adapters to a model
settings.py  what the settings of an adapter say of it
"""

from ldm_jax.adapters.controlnet import ControlNet
from ldm_jax.adapters.lora import LoRA

KINDS = (ControlNet, LoRA)  # in the order in which files of others are tried
