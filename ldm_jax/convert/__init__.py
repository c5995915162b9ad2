"""Weights from elsewhere as runs, and runs as files that others read.

chosen.py       what is converted into what, from what the two are
first_stage.py  first stages, alone or inside a larger checkpoint
model.py        whole latent diffusion models
diffusers_model.py  diffusers_export.py  the same from folders of diffusers, and to them
clip.py         both encoders of CLIP
adapter.py      adapters as files, and models with adapters merged into them
tokenizer_files.py  CLIP's tokenizer among the files of others
paths.py        errors that name what was read, small files as others write theirs
"""

from ldm_jax.convert.chosen import convert
from ldm_jax.weights.names.autoencoder import Description

__all__ = ["Description", "convert"]
