"""Training objectives of a denoiser, each idea a file; `train_step/diffusion.py` joins them."""
