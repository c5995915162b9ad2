"""Shapes from images of 8 x 8 pixels, four times as large."""

from base import *

config = replace(concatenated, conditions=(LowResolution(factor=4),))
