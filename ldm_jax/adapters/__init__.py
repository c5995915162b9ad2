"""Adapters: changes of a trained model by weights of their own, a file each.

adapter.py   from a model and adapters to a model
settings.py  what the settings of an adapter say of it
hint.py      what adapters that follow a hint have in common
low_rank.py  what LoRA and its kin have in common
"""

from ldm_jax.adapters.controlnet import ControlNet
from ldm_jax.adapters.image_encoder import ImageEncoder
from ldm_jax.adapters.instant_id import InstantID
from ldm_jax.adapters.ip_adapter import IPAdapter
from ldm_jax.adapters.loha import LoHa
from ldm_jax.adapters.lokr import LoKr
from ldm_jax.adapters.lora import LoRA
from ldm_jax.adapters.style_adapter import StyleAdapter
from ldm_jax.adapters.t2i_adapter import T2IAdapter
from ldm_jax.adapters.textual_inversion import TextualInversion

# in the order in which files of others are tried
KINDS = (
    InstantID,
    ControlNet,
    T2IAdapter,
    StyleAdapter,
    IPAdapter,
    TextualInversion,
    LoRA,
    LoHa,
    LoKr,
)
