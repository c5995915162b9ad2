"""Guidance: each file is one function from denoisers to a denoiser; they go around each other."""
