"""Conditions, one a file; a new one is a line here."""

from ldm_jax.conditioning.bert_text import BERTText
from ldm_jax.conditioning.captions import Captions
from ldm_jax.conditioning.clip_image import CLIPImage
from ldm_jax.conditioning.clip_text import CLIPText
from ldm_jax.conditioning.condition import Condition
from ldm_jax.conditioning.depth import Depth
from ldm_jax.conditioning.inpainting import Inpainting
from ldm_jax.conditioning.label import Label
from ldm_jax.conditioning.layout import Layout
from ldm_jax.conditioning.low_resolution import LowResolution
from ldm_jax.conditioning.retrieval import Retrieval
from ldm_jax.conditioning.semantic_map import SemanticMap
from ldm_jax.conditioning.text import Text
from ldm_jax.conditioning.unclip import UnCLIP

__all__ = [
    "BERTText",
    "CLIPImage",
    "CLIPText",
    "Captions",
    "Condition",
    "Depth",
    "Inpainting",
    "Label",
    "Layout",
    "LowResolution",
    "Retrieval",
    "SemanticMap",
    "Text",
    "UnCLIP",
]
