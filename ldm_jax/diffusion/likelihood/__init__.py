"""How likely data are under a denoiser, in bits per dimension."""
