"""Shapes from images of 8 x 8 pixels, four times as large."""

from base import *

config = replace(beside, conditions=(LowResolution(factor=4),))
