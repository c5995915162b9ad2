"""GLIDE's upsampler: images of 64 pixels to 256."""

from base import *

config = upsample
