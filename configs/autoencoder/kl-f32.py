"""kl-f32 (Rombach et al. 2022): 64 channels, 32 times fewer a side; rFID 2.04.

python train.py configs/autoencoder/kl-f32.py --data.path FOLDER
The original's trainer multiplies this lr by the global batch size, on however many devices.
"""

from base import *

model = KLAutoencoder(channel_mults=(1, 1, 2, 2, 4, 4), z_channels=64, attention_factors=(16, 32))
config = trained(kl, model, batch_size=6)
