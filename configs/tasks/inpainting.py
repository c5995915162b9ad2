"""Inpainting of shapes."""

from base import *

config = replace(concatenated, conditions=(Inpainting(),))
