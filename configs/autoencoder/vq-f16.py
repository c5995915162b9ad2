"""vq-f16 (Rombach et al. 2022): 16384 codes of 8 numbers, 16 times fewer a side; rFID 5.15.

python train.py configs/autoencoder/vq-f16.py --data.path FOLDER
The original's trainer multiplies this lr by the global batch size, on however many devices.
"""

from base import *

model = VQAutoencoder(
    channel_mults=(1, 1, 2, 2, 4), z_channels=8, codebook_size=16384, attention_factors=(16,)
)
config = trained(vq, model, batch_size=14, layers=2)
