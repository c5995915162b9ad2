"""vq-f8-n256 (Rombach et al. 2022): 256 codes of 4 numbers, 8 times fewer a side; rFID 1.49.

python train.py configs/autoencoder/vq-f8-n256.py --data.path FOLDER
The original's trainer multiplies this lr by the global batch size, on however many devices.
"""

from base import *

model = VQAutoencoder(
    channel_mults=(1, 2, 2, 4), z_channels=4, codebook_size=256, attention_factors=(8,)
)
config = trained(vq, model, batch_size=10)
