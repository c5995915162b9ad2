"""Adapters: changes of a trained model by weights of their own, a file each.

adapter.py   from a model and adapters to a model
settings.py  what the settings of an adapter say of it
low_rank.py  what LoRA and its kin have in common
"""

from ldm_jax.adapters.controlnet import ControlNet
from ldm_jax.adapters.loha import LoHa
from ldm_jax.adapters.lokr import LoKr
from ldm_jax.adapters.lora import LoRA
from ldm_jax.adapters.t2i_adapter import T2IAdapter
from ldm_jax.adapters.textual_inversion import TextualInversion

# in the order in which files of others are tried
KINDS = (ControlNet, T2IAdapter, TextualInversion, LoRA, LoHa, LoKr)
