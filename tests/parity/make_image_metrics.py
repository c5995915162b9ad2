"""Makes image_metrics.npz from scikit-image, in float64.

pip install scikit-image==0.26.0
PYTHONPATH=. python tests/parity/make_image_metrics.py
"""

from pathlib import Path

import image_pairs
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

found = {}
for name, (image, other) in image_pairs.pairs().items():
    image, other = (image + 1) / 2, (other + 1) / 2
    found[f"psnr {name}"] = peak_signal_noise_ratio(image, other, data_range=1.0)
    found[f"ssim {name}"] = structural_similarity(
        image,
        other,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=-1,
    )
np.savez(Path(__file__).parent / "image_metrics.npz", **found)
