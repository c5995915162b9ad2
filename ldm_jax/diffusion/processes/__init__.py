"""Noising processes: each file is one alpha_t and sigma_t; t = 0 is data, t = T is noise."""
