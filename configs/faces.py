"""Drawn faces with captions, both stages in minutes on a core (docs/adapters/instant-id.md).

python benchmarks/faces.py draw faces
python train.py configs/faces.py
"""

from demo import *

config = replace(
    config,
    data=Data(path="faces", image_size=32, batch_size=8),
    first_stage=replace(
        config.first_stage,
        model=replace(config.first_stage.model, channel_mults=(1, 2, 4)),
        data=Data(),
        train=Train(steps=1000, save_every=500, sample_every=0, log_every=100),
    ),
    model=replace(config.model, channels=48, attention_factors=(2,)),
    conditions=(replace(config.conditions[0], length=16),),
    train=Train(steps=3500, save_every=500, sample_every=0, log_every=100),
)
