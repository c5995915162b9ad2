"""vq-f4-noattn (Rombach et al. 2022): 8192 codes of 3 numbers, 4 times fewer a side; rFID 1.06.

python train.py configs/autoencoder/vq-f4-noattn.py --data.path FOLDER
The original's trainer multiplies this lr by the global batch size, on however many devices.
"""

from base import *

model = VQAutoencoder(
    channel_mults=(1, 2, 4), z_channels=3, codebook_size=8192, mid_attention=False
)
config = trained(vq, model, batch_size=8, start=11)
