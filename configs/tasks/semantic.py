"""Shapes from a map of the class of each pixel."""

from base import *

config = replace(concatenated, conditions=(SemanticMap(num_classes=6, out_channels=6),))
