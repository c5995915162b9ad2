"""A subject from 3 to 5 images, taught to all of Stable Diffusion 1's denoiser (DreamBooth).

python train.py configs/sd/dreambooth.py --workdir RUN --init-from SD --data.path FOLDER
    --data.captions "a photo of sks dog" --prior.prompt "a photo of dog"
Half of a batch is of the class, in images that the model draws first. Rate and steps are those of
diffusers' example; --conditions.0.no-frozen trains the text encoder, too (there with --optim.lr
2e-6), and configs/adapters/dreambooth.py a LoRA in place of both.
"""

from base import *

config = replace(
    base,
    prior=Prior("a photo of dog", num=200),
    data=Data(image_size=512, batch_size=2, crop="random", captions=("a photo of sks dog",)),
    model=UNet(remat="full"),
    conditions=(CLIPText(drop=0.0),),
    optim=Optim(lr=5e-6, weight_decay=0.01, ema_decay=0.99),
    train=Train(steps=800, num_samples=4),
)
