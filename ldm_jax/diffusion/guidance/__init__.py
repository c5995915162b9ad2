"""Guidance: each file is one function from denoisers to a denoiser, so that they compose."""
