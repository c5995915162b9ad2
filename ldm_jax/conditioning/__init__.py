"""Conditions, one a file; a new one is a line here."""

from ldm_jax.conditioning.bert_text import BERTText as BERTText
from ldm_jax.conditioning.captions import Captions as Captions
from ldm_jax.conditioning.clip_caption import CLIPCaption as CLIPCaption
from ldm_jax.conditioning.clip_image import CLIPImage as CLIPImage
from ldm_jax.conditioning.clip_text import CLIPText as CLIPText
from ldm_jax.conditioning.condition import Condition as Condition
from ldm_jax.conditioning.depth import Depth as Depth
from ldm_jax.conditioning.embedded_image import EmbeddedImage as EmbeddedImage
from ldm_jax.conditioning.glide_text import GLIDEText as GLIDEText
from ldm_jax.conditioning.inpainting import Inpainting as Inpainting
from ldm_jax.conditioning.label import Label as Label
from ldm_jax.conditioning.layout import Layout as Layout
from ldm_jax.conditioning.low_resolution import LowResolution as LowResolution
from ldm_jax.conditioning.retrieval import Retrieval as Retrieval
from ldm_jax.conditioning.semantic_map import SemanticMap as SemanticMap
from ldm_jax.conditioning.t5_text import T5Text as T5Text
from ldm_jax.conditioning.text import Text as Text
from ldm_jax.conditioning.unclip import UnCLIP as UnCLIP

__all__ = [name for name, value in globals().items() if isinstance(value, type)]
