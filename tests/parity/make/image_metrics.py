"""Makes image_metrics.npz from scikit-image, in float64.

pip install scikit-image==0.26.0
python -m tests.parity.make.image_metrics
"""

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tests.parity.cases import image_pairs
from tests.parity.folders import ARRAYS

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
np.savez(ARRAYS / "image_metrics.npz", **found)
