"""Training objectives of a denoiser, each idea a file; `train/diffusion_step.py` joins them."""
