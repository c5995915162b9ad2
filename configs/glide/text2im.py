"""GLIDE's base model: captions to images of 64 pixels."""

from base import *

config = base
