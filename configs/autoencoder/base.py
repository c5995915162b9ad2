"""What the published first stages share (Rombach et al. 2022)."""

from ldm_jax.config import *

hinge = Adversary(start=50_001, loss="hinge", layers=3)
base = FirstStageExperiment(
    loss=AutoencoderLoss(reconstruction="l1", perceptual_weight=1.0),
    data=Data(image_size=256, batch_size=10, crop="random"),
    optim=Optim(lr=4.5e-6, b1=0.5, b2=0.9, clip=None, ema_decay=0.0),
    train=Train(steps=500_000),
)
kl = replace(
    base,
    loss=replace(base.loss, reduction="sum", kl_weight=1e-6, adversary=replace(hinge, weight=0.5)),
)
vq = replace(
    base,
    loss=replace(
        base.loss,
        reduction="mean",
        codebook=Codebook(weight=0.25, commitment=1.0),  # as the original's beta falls on the codes
        adversary=replace(hinge, weight=0.75, start=250_001),
    ),
)


def trained(experiment, model, batch_size, **adversary):
    """The experiment with a model, examples of a batch, and what of the adversary differs."""
    loss = experiment.loss
    loss = replace(loss, adversary=replace(loss.adversary, **adversary))
    data = replace(experiment.data, batch_size=batch_size)
    return replace(experiment, model=model, data=data, loss=loss)
