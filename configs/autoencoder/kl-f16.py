"""kl-f16 (Rombach et al. 2022): 16 channels, 16 times fewer a side; rFID 0.87.

python train.py configs/autoencoder/kl-f16.py --data.path FOLDER
The original's trainer multiplies this lr by the global batch size, on however many devices.
"""

from base import *

model = KLAutoencoder(channel_mults=(1, 1, 2, 2, 4), z_channels=16, attention_factors=(16,))
config = trained(kl, model, batch_size=6)
