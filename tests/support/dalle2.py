"""The smallest DALL-E 2: a CLIP in a file, and experiments of the prior and the decoder."""

from dataclasses import replace
from pathlib import Path

from ldm_jax import config as c
from ldm_jax.encoders.clip.model import CLIP, TextArchitecture
from ldm_jax.encoders.clip.vision import VisionSettings
from ldm_jax.encoders.tokenizers import clip
from ldm_jax.weights.formats.files import write_weights
from ldm_jax.weights.names.clip import both_encoders
from ldm_jax.weights.table import shapes
from tests.parity.cases import drawn
from tests.support import tiny

LENGTH, WORDS, DIM = 8, 514 + 8, 16
VISION = {"channels": 8, "layers": 1, "num_heads": 2, "dim": DIM, "patch": 4, "size": 8}
TEXT = {"dim": 8, "layers": 1, "num_heads": 2, "head_dim": 4, "length": LENGTH}
OF = CLIP(VisionSettings(**VISION).architecture, TextArchitecture(8, 1, 2, LENGTH, WORDS))


def write_clip(folder: Path) -> str:
    """A folder with the weights of a CLIP, and its tokenizer."""
    folder.mkdir()
    state = drawn.state(shapes(both_encoders(OF, "transformers")))
    write_weights(folder / "model.safetensors", state)
    captions = [f"a {color} block at the {place}" for color in tiny.COLORS for place in tiny.PLACES]
    tokenizer = clip.learn(captions, WORDS, LENGTH, "openai")
    assert tokenizer.get_vocab_size() == WORDS
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    return str(folder)


def captions(file: str | None, **more) -> c.CLIPCaption:
    return c.CLIPCaption(**TEXT, vocab_size=WORDS, embedding_dim=DIM, file=file, **more)


def prior(path: str | Path, file: str | None) -> c.Experiment:
    """A prior, of two steps."""
    base = tiny.experiment(path)
    stage = c.ImageEmbedding(**VISION, image_size=tiny.SIZE, file=file)
    return replace(
        base,
        first_stage=c.FirstStageExperiment(model=stage),
        model=c.PriorTransformer(channels=8, layers=1, num_heads=2, length=LENGTH, vector_dim=DIM),
        conditions=(captions(file),),
        diffusion=c.Diffusion("cosine", 20, prediction="x0"),
        sampling=c.Sampling("ddpm", 3, "linspace", guidance=2.0),
        train=replace(base.train, steps=2, save_every=2),
    )


def decoder(path: str | Path, file: str | None) -> c.Experiment:
    """A decoder of embeddings and captions to images of 8 pixels, of two steps."""
    base = tiny.experiment(path)
    return replace(
        base,
        first_stage=c.FirstStageExperiment(model=c.Pixels()),
        latent_scale=1.0,
        model=c.UnCLIPDecoder(
            channels=8,
            channel_mults=(1,),
            num_res_blocks=1,
            attention_factors=(),  # the middle always attends
            num_heads=2,
            head_channels=None,
            norm_groups=4,
            vector_dim=2 * DIM,
            extra_tokens=2,
            context_dim=8,
        ),
        conditions=(captions(file, drop_alone=0.5), c.EmbeddedImage(**VISION, file=file)),
        diffusion=c.Diffusion("cosine", 20, learned_variance=True),
        loss=c.DiffusionLoss(kind="hybrid"),
        sampling=c.Sampling("ddim", 3, "linspace", guidance=2.0),
        train=replace(base.train, steps=2, save_every=2),
    )
