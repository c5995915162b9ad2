"""Whether the numbers of a config can be, and go together; asked before any work."""

import dataclasses
import math
from typing import Any

from ldm_jax import config as c
from ldm_jax import sampling
from ldm_jax.build import build_first_stage
from ldm_jax.conditioning.clip_image import LEVELS as EMBEDDING_LEVELS
from ldm_jax.conditioning.low_resolution import LEVELS
from ldm_jax.data import buckets
from ldm_jax.diffusion import times
from ldm_jax.errors import InputError
from ldm_jax.losses.lpips import TRUNKS
from ldm_jax.losses.patchgan import smallest
from ldm_jax.train import power_ema

# what a number may be, by the name of its field in whatever section
RANGES = (
    (
        "at least 1",
        lambda x: x >= 1,
        "image_size batch_size min_objects max_objects num_train num_test channels num_res_blocks "
        "z_channels norm_groups num_heads head_channels head_dim transformer_depth vector_dim dim "
        "layers patch size vision_channels vision_layers vision_heads text_channels text_layers "
        "text_heads ff_dim max_scale hidden num_classes stages out_channels factor max_noise "
        "vector_entries neighbours steps save_every keep log_every num_samples codebook_size "
        "accumulate data fsdp tensor bucket_aspect",
    ),
    (
        "0 or more",
        lambda x: 0 <= x < math.inf,
        "max_bad_images threads warmup sample_every snapshot_every every kl_weight weight_decay "
        "p2_gamma vlb_weight offset_noise input_perturbation perceptual_weight weight commitment "
        "start r1_weight lecam_weight s_churn s_tmin s_tmax s_noise buckets",
    ),
    (
        "more than 0",
        lambda x: 0 < x < math.inf,
        "lr eps temperature clip sigma_min sigma_max rho shift data_std huber_delta min_snr_gamma "
        "p2_k times_std",
    ),
    ("0 to 1", lambda x: 0 <= x <= 1, "drop eta ema_decay revive_below"),
    ("0 or more, and less than 1", lambda x: 0 <= x < 1, "b1 b2 decay"),
    ("more than 0, and less than 1", lambda x: 0 < x < 1, "beta_start beta_end"),
    ("a finite number", math.isfinite, "guidance times_mean"),
    ("0 to 2^32 - 1", lambda x: 0 <= x < 2**32, "seed"),
    ("at least 2", lambda x: x >= 2, "levels num num_reference"),
    ("at least 3, [CLS], a word and [SEP]", lambda x: x >= 3, "length"),
    ("more than 4, the special tokens", lambda x: x > 4, "vocab_size"),
    (
        "one number a level, each at least 1",
        lambda x: min(x, default=0) >= 1,
        "channel_mults blocks",
    ),
    (
        "numbers of at least 1",
        lambda x: min(x, default=1) >= 1,
        "attention_factors cross_only_factors",
    ),
    (
        "none, or a first and a last step, each at least 1",
        lambda x: len(x) in (0, 2) and min(x, default=1) >= 1 and tuple(sorted(x)) == x,
        "profile_steps",
    ),
    (
        "widths of more than 0 and less than 0.288, such as 0.05 0.1",
        lambda x: all(0 < width < 0.288 for width in x),
        "power_ema",
    ),
    ("red, green and blue, 0 to 255", lambda x: 0 <= min(x) <= max(x) <= 255, "background"),
)


def check_ranges(config: Any, prefix: str = "") -> None:
    """Raises InputError for the first number in a config that its field cannot be."""
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            check_ranges(value, f"{name}.")
            continue
        for expected, fits, names in RANGES:
            if isinstance(value, str | None):
                continue
            if field.name in names.split() and not fits(value):
                raise InputError(f"{name} is {value}: expected {expected}")


def check_averages(experiment: Any, prefix: str = "") -> None:
    """Raises InputError where averages are to be kept for good of which there are none, and for a
    setting that the optimizer has no use for."""
    optim = experiment.optim
    if optim.kind in ("lion", "adafactor") and optim.eps != c.Optim().eps:
        raise InputError(
            f"{prefix}optim.eps is {optim.eps} with {optim.kind}, which has none: expected "
            f"{c.Optim().eps}, its default"
        )
    every, widths = experiment.train.snapshot_every, experiment.optim.power_ema
    if bool(every) != bool(widths):
        raise InputError(
            f"{prefix}train.snapshot_every is {every} and {prefix}optim.power_ema {widths}: "
            "expected both or neither, since the one is how often the others are kept for good"
        )
    if len({power_ema.name(width) for width in widths}) < len(widths):
        raise InputError(
            f"{prefix}optim.power_ema is {widths}: expected widths that differ by 0.001 or more"
        )


def check_first_stage(experiment: c.FirstStageExperiment, prefix: str = "") -> None:
    """Raises InputError where the parts of the config cannot go together."""
    model, size = experiment.model, experiment.data.image_size
    factor = build_first_stage(model).factor
    check_averages(experiment, prefix)
    if size is None:
        raise InputError(f"{prefix}data.image_size is not set: expected a number of pixels")
    _check_squares(experiment.data, f"{prefix}data.", "a first stage")
    if isinstance(model, c.MLPAutoencoder) and size != model.image_size:
        raise InputError(
            f"{prefix}data.image_size is {size} and {prefix}model.image_size {model.image_size}: "
            "expected the same, since an MLP sees images of one size"
        )
    if size % factor:
        raise InputError(
            f"{prefix}data.image_size is {size}: expected a multiple of {factor}, the factor by "
            f"which the first stage downsamples, such as {math.ceil(size / factor) * factor}"
        )
    if isinstance(model, c.ConvolutionalAutoencoder):
        _check_divides(model, "norm_groups", f"{prefix}model.")
    _check_first_stage_loss(experiment, prefix)


def _check_squares(data: c.Data, prefix: str, what: str) -> None:
    """Raises InputError for buckets where all images are squares."""
    if data.buckets:
        raise InputError(
            f"{prefix}buckets is {data.buckets}: expected 0, since {what} is trained on squares"
        )


def _check_buckets(experiment: c.Experiment, factor: int) -> None:
    """Raises InputError for buckets that cannot be."""
    data, told = experiment.data, experiment.beside or experiment.condition
    if not data.buckets:
        return
    buckets.check(data.image_size, data.buckets, data.bucket_aspect, factor)
    if not isinstance(told, c.Text | c.Label | c.Unconditional):
        _check_squares(data, "data.", f"a model that is told {type(told).__name__}")


def _check_first_stage_loss(experiment: c.FirstStageExperiment, prefix: str) -> None:
    """Raises InputError for a setting that this kind of first stage has no use for."""
    loss, size = experiment.loss, experiment.data.image_size
    kind = type(experiment.model).__name__
    if kind != "VQAutoencoder" and loss.codebook != c.Codebook():
        raise InputError(
            f"{prefix}loss.codebook is {loss.codebook}: expected its default, since a {kind} has "
            "no codebook; use model=VQAutoencoder()"
        )
    drawn = ("KLAutoencoder", "MLPAutoencoder")  # their latents
    if kind not in drawn and loss.kl_weight != c.AutoencoderLoss().kl_weight:
        raise InputError(
            f"{prefix}loss.kl_weight is {loss.kl_weight}: expected its default, since a "
            f"{kind} has no posterior" + "; see loss.codebook" * (kind == "VQAutoencoder")
        )
    if loss.perceptual_weight and size < TRUNKS[loss.perceptual].smallest:
        raise InputError(
            f"{prefix}data.image_size is {size}: expected at least "
            f"{TRUNKS[loss.perceptual].smallest}, which {prefix}loss.perceptual "
            f"{loss.perceptual} can see; or set {prefix}loss.perceptual_weight to 0"
        )
    if loss.adversary.weight and size < smallest(loss.adversary.layers):
        raise InputError(
            f"{prefix}data.image_size is {size}: expected at least "
            f"{smallest(loss.adversary.layers)}, one patch of a discriminator of "
            f"{loss.adversary.layers} layers; lower {prefix}loss.adversary.layers"
        )
    if kind != "MLPAutoencoder" and loss.reconstruction == "likelihood":
        raise InputError(
            f"{prefix}loss.reconstruction is likelihood: expected l1 or l2, since a {kind} has no "
            "likelihood of its own; use model=MLPAutoencoder()"
        )
    if loss.reconstruction == "likelihood" and loss.learn_log_variance:
        raise InputError(
            f"{prefix}loss.learn_log_variance is True: expected False, since with "
            f"{prefix}loss.reconstruction likelihood nothing would keep it from falling"
        )


def _check_divides(
    network: c.ConvolutionalAutoencoder | c.UNet | c.Classifier, name: str, prefix: str
) -> None:
    """Raises InputError unless the field `name` divides the channels of every level."""
    for channels in (mult * network.channels for mult in network.channel_mults):
        if channels % getattr(network, name):
            raise InputError(
                f"{prefix}{name} is {getattr(network, name)}: expected a divisor of {channels}, "
                f"the channels of a level ({prefix}channels times one of {prefix}channel_mults)"
            )


def check_diffusion(experiment: c.Experiment) -> None:
    """Raises InputError where the parts of the config cannot go together."""
    unet, size = experiment.model, experiment.data.image_size
    factor = build_first_stage(experiment.first_stage.model).factor
    factor *= 2 ** (len(unet.channel_mults) - 1)
    check_averages(experiment)
    if size is None:
        raise InputError("data.image_size is not set: expected a number of pixels")
    if size % factor:
        raise InputError(
            f"data.image_size is {size}: expected a multiple of {factor}, the factor by which "
            f"first stage and UNet downsample, such as {math.ceil(size / factor) * factor}"
        )
    check_first_stage(experiment.first_stage, "first_stage.")
    _check_buckets(experiment, factor)
    _check_divides(unet, "head_channels" if unet.head_channels else "num_heads", "model.")
    _check_divides(unet, "norm_groups", "model.")
    _check_heads(experiment)
    if unet.positions and unet.channels % 4:
        raise InputError(
            f"model.channels is {unet.channels}: expected a multiple of 4, since model.positions "
            "tells attention rows and columns by sines and cosines"
        )
    scale = experiment.latent_scale
    if not isinstance(scale, str) and not 0 < scale < math.inf:
        raise InputError(f"latent_scale is {scale}: expected one, channels or a factor above 0")
    _check_condition(experiment)
    _check_slots(experiment)
    _check_process(experiment.diffusion)
    _check_loss(experiment.loss, experiment.diffusion)
    # an eta of 0 was the default of every sampler once
    asked = dataclasses.replace(experiment.sampling, eta=experiment.sampling.eta or None)
    sampling.check_options(asked, lambda name: f"sampling.{name}")
    if asked.times:
        times.by_hand(asked.times, experiment.diffusion.steps)
    if not 1 <= experiment.sampling.steps <= experiment.diffusion.steps:
        raise InputError(
            f"sampling.steps is {experiment.sampling.steps}: expected 1 to diffusion.steps, "
            f"which is {experiment.diffusion.steps}"
        )


def _check_heads(experiment: c.Experiment) -> None:
    """Raises InputError where heads cannot be shared out along the mesh's tensor axis."""
    unet, tensor = experiment.model, experiment.train.mesh.tensor
    widths = [mult * unet.channels for mult in unet.channel_mults]
    heads = [("model.num_heads", unet.num_heads)]
    if unet.head_channels:
        heads = [("model.head_channels", width // unet.head_channels) for width in widths]
    if isinstance(experiment.condition, c.Text | c.Layout):
        heads.append(("condition.num_heads", experiment.condition.num_heads))
    towers = (x for x in (experiment.condition, experiment.beside) if isinstance(x, c.CLIPImage))
    heads += [(f"num_heads of {type(x).__name__}", x.num_heads) for x in towers]
    for name, count in heads:
        if count % tensor:
            raise InputError(
                f"train.mesh.tensor is {tensor} and {name} makes {count} heads: expected a divisor "
                "of them, since a device has whole heads"
            )


def _check_condition(experiment: c.Experiment) -> None:
    """Raises InputError where a condition cannot be told so, or does not fit the latents."""
    condition, beside = experiment.condition, experiment.beside
    factor = build_first_stage(experiment.first_stage.model).factor
    if beside and not isinstance(condition, c.Text):
        raise InputError(
            f"beside is {type(beside).__name__} and condition {type(condition).__name__}: expected "
            "beside=None, or condition=Text() or CLIPText(), since a second condition goes with "
            "captions alone"
        )
    if isinstance(beside, c.UnCLIP) and not isinstance(condition, c.CLIPText):
        raise InputError(
            f"beside is UnCLIP and condition {type(condition).__name__}: expected CLIPText, since "
            "neither tower of CLIP is trained"
        )
    if beside and beside.drop:
        raise InputError(
            f"beside.drop is {beside.drop}: expected 0, since condition.drop hides the caption and "
            "guidance compares with no caption alone"
        )
    for name, small in (("condition", condition), ("beside", beside)):
        if isinstance(small, c.LowResolution) and small.factor != factor:
            raise InputError(
                f"{name}.factor is {small.factor}: expected {factor}, the factor of the first "
                "stage, since the small image stands beside its latents"
            )
    if isinstance(condition, c.SemanticMap) and 2**condition.stages != factor:
        raise InputError(
            f"condition.stages is {condition.stages}: expected {math.log2(factor):g}, which halves "
            f"a map as often as the first stage, of factor {factor}, halves images"
        )
    if isinstance(condition, c.Layout):
        rows = math.isqrt(condition.vocab_size)
        if rows**2 == condition.vocab_size or rows < 2:
            raise InputError(
                f"condition.vocab_size is {condition.vocab_size}: expected more than 4 and no "
                "square, since its last token, which means none, would be the last place, too"
            )
        if condition.num_classes and condition.num_classes >= condition.vocab_size:
            raise InputError(
                f"condition.num_classes is {condition.num_classes}: expected less than "
                f"condition.vocab_size, which is {condition.vocab_size}"
            )


def _check_slots(experiment: c.Experiment) -> None:
    """Raises InputError where network and condition do not meet."""
    unet, condition = experiment.model, experiment.condition
    for factor in set(unet.cross_only_factors) - set(unet.attention_factors):
        raise InputError(
            f"model.cross_only_factors has {factor}: expected some of model.attention_factors, "
            f"which are {', '.join(map(str, unet.attention_factors)) or 'none'}"
        )
    if isinstance(condition, c.CLIPText):
        _check_clip(condition)
    if isinstance(condition, c.BERTText):
        _check_bert(condition)
    pictured = [x for x in (condition, experiment.beside) if isinstance(x, c.CLIPImage)]
    for tower in pictured:
        _check_tower(tower)
    embedding = any(isinstance(tower, c.UnCLIP) for tower in pictured)
    by_label = isinstance(condition, c.Label) and condition.slot == "vector"
    pooled = isinstance(condition, c.Text) and condition.pooled
    width = unet.vector_dim or 4 * unet.channels
    if (by_label or pooled) and condition.dim != width:
        raise InputError(
            f"condition.dim is {condition.dim}: expected {width}, since its vector is "
            + ("as wide as model.vector_dim" if unet.vector_dim else "added to the step's")
        )
    if embedding and (unet.vector_dim != 2 * pictured[-1].dim or pooled):
        raise InputError(
            f"model.vector_dim is {unet.vector_dim}: expected {2 * pictured[-1].dim}, an embedding "
            "and the level of its noise, and no other vector"
        )
    if unet.vector_dim and not (by_label or pooled or embedding):
        raise InputError(
            f"model.vector_dim is {unet.vector_dim}: expected None, since the condition has no "
            "vector; use condition=Label(slot='vector') or Text(pooled=True), or beside=UnCLIP()"
        )
    _check_entries(experiment)
    if isinstance(condition, c.Label) and not condition.null and condition.drop:
        raise InputError(
            f"condition.drop is {condition.drop}: expected 0 where condition.null is False, since "
            "there is nothing to show in place of a label"
        )
    guidance = experiment.sampling.guidance
    if isinstance(condition, c.Label) and not condition.null and guidance != 1.0:
        raise InputError(
            f"sampling.guidance is {guidance}: expected 1 where condition.null is False, since "
            "guidance compares with no label"
        )


def _check_entries(experiment: c.Experiment) -> None:
    """Raises InputError unless the network has vectors for the levels of noise that it is told."""
    unet = experiment.model
    both = (experiment.condition, experiment.beside)
    told = (x.max_noise for x in both if isinstance(x, c.LowResolution))
    levels = next((n for n in told if n is not None), None)
    if (unet.vector_entries is None) != (levels is None) or (levels or 0) > LEVELS:
        raise InputError(
            f"model.vector_entries is {unet.vector_entries} and max_noise of the low-resolution "
            f"image {levels}: expected both or neither, the latter at most {LEVELS}, since levels "
            "of noise are told as vectors"
        )
    if levels is not None and unet.vector_entries < levels:
        raise InputError(
            f"model.vector_entries is {unet.vector_entries}: expected at least {levels}, the "
            "levels of noise"
        )
    if levels is not None and (unet.vector_dim or getattr(experiment.condition, "pooled", False)):
        raise InputError(
            "model.vector_entries and another vector: expected model.vector_dim None and "
            "condition.pooled False, since the network has one"
        )


def _check_clip(condition: c.CLIPText) -> None:
    """Raises InputError for a tower that CLIP has not."""
    _check_width(condition)
    if condition.pooled:
        raise InputError("condition.pooled is True: expected False, CLIP's tokens have no mean")
    if condition.vocab_size is None:
        raise InputError("condition.vocab_size is None: expected a number, CLIP's is 49408")


def _check_bert(condition: c.BERTText) -> None:
    """Raises InputError for an encoder that BERT has not."""
    _check_width(condition)
    if condition.vocab_size is None:
        raise InputError("condition.vocab_size is None: expected a number, BERT's is 30522")
    if condition.length > condition.positions:
        raise InputError(
            f"condition.length is {condition.length}: expected at most {condition.positions}, as "
            "condition.positions, of which its weights know"
        )


def _check_width(condition: c.Text) -> None:
    """Raises InputError unless the heads of a tower share its width."""
    if condition.num_heads * condition.head_dim != condition.dim:
        raise InputError(
            f"condition.num_heads is {condition.num_heads} and condition.head_dim "
            f"{condition.head_dim}: expected their product to be condition.dim, {condition.dim}"
        )


def _check_tower(tower: c.CLIPImage) -> None:
    """Raises InputError for a tower of pictures that cannot be."""
    for name, of, whole in (
        ("num_heads", "channels", tower.channels),
        ("patch", "size", tower.size),
    ):
        if whole % getattr(tower, name):
            raise InputError(
                f"{name} of {type(tower).__name__} is {getattr(tower, name)}: expected a divisor "
                f"of its {of}, {whole}"
            )
    if isinstance(tower, c.UnCLIP) and (tower.dim % 2 or tower.max_noise > EMBEDDING_LEVELS):
        raise InputError(
            f"dim of UnCLIP is {tower.dim} and max_noise {tower.max_noise}: expected an even "
            f"number and at most {EMBEDDING_LEVELS} levels"
        )


def _check_process(diffusion: c.Diffusion) -> None:
    """Raises InputError where the noising process cannot be, or a network cannot learn it."""
    flows, tables = ("flow", "cosine_flow"), ("linear", "scaled_linear", "cosine", "sqrt")
    if diffusion.zero_terminal_snr and diffusion.schedule not in tables:
        raise InputError(
            f"diffusion.zero_terminal_snr is True: expected False with the {diffusion.schedule} "
            f"schedule, since it rescales {', '.join(tables)}"
        )
    if diffusion.zero_terminal_snr and diffusion.steps < 2:
        raise InputError(
            f"diffusion.steps is {diffusion.steps}: expected at least 2 with "
            "diffusion.zero_terminal_snr, which keeps the first and empties the last"
        )
    if diffusion.prediction == "eps" and (
        diffusion.zero_terminal_snr or diffusion.schedule in flows
    ):
        raise InputError(
            "diffusion.prediction is eps: expected x0, v, velocity or edm, since the noise at T "
            "says nothing of the data where nothing is left of them"
        )
    if diffusion.schedule == "edm" and diffusion.sigma_min >= diffusion.sigma_max:
        raise InputError(
            f"diffusion.sigma_min is {diffusion.sigma_min}: expected less than "
            f"diffusion.sigma_max, which is {diffusion.sigma_max}"
        )


def _check_loss(loss: c.DiffusionLoss, diffusion: c.Diffusion) -> None:
    """Raises InputError where a loss does not train what the network answers, or is asked in vain
    for what it has not."""
    if diffusion.learned_variance and loss.kind == "simple":
        raise InputError(
            "loss.kind is simple: expected hybrid or vlb with diffusion.learned_variance, since "
            "the simple loss does not see the variance"
        )
    if loss.kind == "hybrid" and not diffusion.learned_variance:
        raise InputError(
            "loss.kind is hybrid: expected simple or vlb without diffusion.learned_variance, since "
            "the bound in it trains the variance alone"
        )
    if loss.kind == "vlb":
        for name, none in (("distance", "l2"), ("weight", "none")):
            if getattr(loss, name) != none:
                raise InputError(
                    f"loss.{name} is {getattr(loss, name)}: expected {none} with a loss.kind of "
                    "vlb, which has neither distance nor weight"
                )
    if loss.levels and loss.kind == "simple":
        raise InputError(
            f"loss.levels is {loss.levels}: expected None with a loss.kind of simple, since only "
            "the bound asks for the probability of a level"
        )
    if loss.kind != "simple" and diffusion.steps < 2:
        raise InputError(
            f"diffusion.steps is {diffusion.steps}: expected at least 2 with a loss.kind of "
            f"{loss.kind}, whose first step has the variance of the second"
        )


def check_classifier(experiment: c.ClassifierExperiment) -> None:
    """Raises InputError where the classifier cannot see the latents that it is to tell apart."""
    check_averages(experiment)
    model, size = experiment.model, experiment.data.image_size
    factor = build_first_stage(experiment.first_stage.model).factor
    _check_squares(experiment.data, "data.", "a classifier")
    side, least = size // factor, 2 ** (len(model.channel_mults) - 1)
    if side % least:
        raise InputError(
            f"model.channel_mults has {len(model.channel_mults)} levels, for latents of a multiple "
            f"of {least} a side: expected fewer, since those of the diffusion model have {side}"
        )
    for name in ("head_channels", "norm_groups"):
        _check_divides(model, name, "model.")


def check_clip(experiment: c.CLIPExperiment) -> None:
    """Raises InputError where the towers cannot see pictures of this size, or be divided."""
    check_averages(experiment)
    model, size = experiment.model, experiment.data.image_size
    if size is None:
        raise InputError("data.image_size is not set: expected a number of pixels")
    _check_squares(experiment.data, "data.", "CLIP")
    if size % model.patch:
        raise InputError(
            f"data.image_size is {size}: expected a multiple of model.patch {model.patch}, such as "
            f"{math.ceil(size / model.patch) * model.patch}"
        )
    for tower in ("vision", "text"):
        channels, heads = (getattr(model, f"{tower}_{name}") for name in ("channels", "heads"))
        if channels % heads:
            raise InputError(
                f"model.{tower}_heads is {heads}: expected a divisor of {channels}, "
                f"model.{tower}_channels"
            )
