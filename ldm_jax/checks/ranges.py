"""What a number may be, by the name of its field in whatever section."""

import dataclasses
import math
from typing import Any

from ldm_jax.errors import InputError

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
