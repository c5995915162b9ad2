"""CLIP: images and captions in one space (Radford et al. 2021)."""
