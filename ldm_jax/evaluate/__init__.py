"""Measurements of trained runs, as scripts/evaluate.py offers them."""
