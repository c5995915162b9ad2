"""Inpainting of shapes."""

from base import *

config = replace(beside, conditions=(Inpainting(),))
