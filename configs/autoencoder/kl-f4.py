"""kl-f4 (Rombach et al. 2022): 3 channels, 4 times fewer a side; rFID 0.27.

python train.py configs/autoencoder/kl-f4.py --data.path FOLDER
The original's trainer multiplies this lr by the global batch size, on however many devices.
"""

from base import *

config = trained(kl, KLAutoencoder(channel_mults=(1, 2, 4), z_channels=3), 10)
