"""Shapes without a condition; the other tasks here add one."""

from base import *

config = base
