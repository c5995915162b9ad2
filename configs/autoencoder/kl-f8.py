"""kl-f8 (Rombach et al. 2022): 4 channels, 8 times fewer a side; rFID 0.90.

python train.py configs/autoencoder/kl-f8.py --data.path FOLDER
The original's trainer multiplies this lr by the global batch size, on however many devices.
"""

from base import *

config = trained(kl, KLAutoencoder(channel_mults=(1, 2, 4, 4), z_channels=4), 4)
