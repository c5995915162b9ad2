"""Every setting under one name, for config files: `from ldm_jax.config import *`.

A config file is Python that builds one `Experiment` (or one `FirstStageExperiment`, one
`ClassifierExperiment`, `CLIPExperiment` or `AdapterExperiment`) under the name `config`. Fields
that are None are filled in from the data. A setting is declared in the file of what it sets.

Configs of a family share a base.py in their folder, and say what differs:

    from base import *

    config = replace(base, train=Train(steps=1000))
"""

from dataclasses import replace

from ldm_jax import autoencoders, conditioning
from ldm_jax.adapters import *
from ldm_jax.autoencoders import *
from ldm_jax.autoencoders.convolutional import ConvolutionalAutoencoder
from ldm_jax.backbones.classifier import Classifier
from ldm_jax.backbones.last_step import LastStepUNet
from ldm_jax.backbones.prior import PriorTransformer
from ldm_jax.backbones.unclip_decoder import UnCLIPDecoder
from ldm_jax.backbones.unet import UNet
from ldm_jax.conditioning import *
from ldm_jax.data.settings import Data, Shapes
from ldm_jax.diffusion.losses.settings import DiffusionLoss
from ldm_jax.diffusion.sampling import SamplerName, Sampling, ScheduleName, SpacingName
from ldm_jax.diffusion.settings import Diffusion
from ldm_jax.diffusion.spacing import FAST27
from ldm_jax.encoders.clip.model import CLIPModel, CLIPName
from ldm_jax.experiments import (
    AdapterExperiment,
    AnyExperiment,
    Cascade,
    ClassifierExperiment,
    CLIPExperiment,
    Experiment,
    FirstStageExperiment,
    Stage,
)
from ldm_jax.experiments.evaluation import Evaluation, FirstStageEvaluation
from ldm_jax.experiments.train import Train
from ldm_jax.extractors.names import ExtractorName, ResizeName
from ldm_jax.runtime.sharding import Mesh
from ldm_jax.train_step.adversary import Adversary
from ldm_jax.train_step.autoencoder import AutoencoderLoss
from ldm_jax.train_step.codebook import Codebook
from ldm_jax.train_step.contrastive import ContrastiveLoss
from ldm_jax.train_step.optimizer import Optim
from ldm_jax.train_step.prior_preservation import Prior

__all__ = [*(name for name in globals() if name[0].isupper()), "replace"]
