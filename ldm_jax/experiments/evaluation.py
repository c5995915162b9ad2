"""What is measured while a model trains."""

from dataclasses import dataclass

from ldm_jax.extractors.names import ExtractorName, ResizeName
from ldm_jax.settings import AtLeast1, AtLeast2, NotNegativeInt


@dataclass(frozen=True)
class Evaluation:
    """How far samples are from real images, measured while a diffusion model trains.

    Samples are drawn with the averaged weights as `sampling` says, for conditions of the training
    data, of the same seeds each time. The distance is a column of metrics.csv: fid, fd_dinov2,
    mobilenet_fd, clip_vit_l14_fd, ...; train.best may name it.
    """

    every: NotNegativeInt = 0  # steps; 0: never
    num: AtLeast2 = 1_000  # samples; the fewer, the farther from real images they seem
    reference: str | None = None  # a folder, FILE.npz or data:RUN; None: the training data
    num_reference: AtLeast2 = 10_000  # of its images, at most
    batch_size: AtLeast1 = 64  # images per batch
    extractor: ExtractorName = "inception"  # the network whose features are compared
    weights: str | None = None  # a file with its weights; None: found or fetched
    resize: ResizeName | None = None  # of inception, tensorflow where None


@dataclass(frozen=True)
class FirstStageEvaluation:
    """How well images come back, measured while a first stage trains.

    With the averaged weights, without chance: eval_psnr in dB and eval_ssim are columns of
    metrics.csv.
    """

    every: NotNegativeInt = 0  # steps; 0: never
    num: AtLeast2 = 500  # images, at most
    split: str = "test"  # of the data; a folder without splits has one, which is trained on
    batch_size: AtLeast1 = 64  # images at once
