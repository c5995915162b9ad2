"""vq-f8 (Rombach et al. 2022): 16384 codes of 4 numbers, 8 times fewer a side; rFID 1.14.

python train.py configs/autoencoder/vq-f8.py --data.path FOLDER
The original's trainer multiplies this lr by the global batch size, on however many devices.
"""

from base import *

model = VQAutoencoder(
    channel_mults=(1, 2, 2, 4), z_channels=4, codebook_size=16384, attention_factors=(8,)
)
config = trained(vq, model, batch_size=10, weight=0.6, start=1, layers=2)
