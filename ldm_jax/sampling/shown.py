"""By which first stage latents become images, in the end and on the way."""

from pathlib import Path

from ldm_jax import runs
from ldm_jax.config import TinyAutoencoder
from ldm_jax.diffusion.samplers.loop import Watch
from ldm_jax.errors import InputError
from ldm_jax.sampling import tiled
from ldm_jax.sampling.generate import Shown
from ldm_jax.sampling.start import times_of
from ldm_jax.sampling.wanted import Request
from ldm_jax.types import FirstStage, Params


def check_shown(request: Request, trained: runs.Trained) -> None:
    """Raises InputError for steps that are not there, and for first stages of other latents."""
    every, K = request.preview_every, len(times_of(request, trained)) - 1
    if every is not None and not 1 <= every <= K:
        raise InputError(f"--preview-every is {every}: expected 1 to {K}, the steps that are taken")
    if every is not None and request.resample:
        raise InputError(
            "--preview-every and --resample do not go together: leave one of them out, since "
            "RePaint goes back on the way"
        )
    if request.preview_with and every is None:
        raise InputError(
            f"--preview-with '{request.preview_with}': expected --preview-every K, too, how often"
        )
    own = trained.model.first_stage
    for flag, run in (
        ("--preview-with", request.preview_with),
        ("--decode-with", request.decode_with),
    ):
        if not run:
            continue
        stage = runs.find_first_stage(Path(run)).model
        for what, here, there in (
            ("channels", own.channels, stage.channels),
            ("pixels a latent", own.factor, stage.factor),
        ):
            if here != there:
                raise InputError(
                    f"{flag} '{run}' reads latents of {there} {what}: expected {here}, as those of "
                    f"run '{trained.run}' have"
                )


def load_shown(trained: runs.Trained, request: Request, K: int) -> tuple[Shown, Params]:
    """How K steps of a request are shown, and the params that it takes beside the model's."""
    if request.preview_every is None and not request.decode_with:
        return Shown(), {}
    own, decoder = trained.params["first_stage"], None
    preview, params = trained.model.first_stage, {"preview": own}
    if request.decode_with:
        decoder, params["decoder"] = load(request.decode_with, own)
        preview, params["preview"] = decoder, params["decoder"]
    if request.preview_with:
        preview, params["preview"] = load(request.preview_with, own)
    if request.tile:
        decoder = decoder and tiled.tiled(decoder, request.tile)
        preview = tiled.tiled(preview, request.tile)
    every = request.preview_every
    watched = (preview, Watch(every, K // every)) if every else (None, None)
    return Shown(decoder, *watched), params


def load(run: str, own: Params) -> tuple[FirstStage, Params]:
    """The first stage of a run, and its weights as they decode latents scaled as in `own`.

    A tiny autoencoder reads latents as the model does, see `autoencoders/tiny.py`; the run of any
    other first stage on the same latents has no scale, or measured its own.
    """
    found = runs.with_weights(runs.find_first_stage(Path(run)))
    if isinstance(found.experiment.model, TinyAutoencoder):
        return found.model, found.params
    return found.model, {**found.params, "shift": own["shift"], "scale": own["scale"]}


def describe_shown(request: Request) -> list[str]:
    """By what images are decoded, where not by the model's own first stage."""
    said = [f"decoded by '{request.decode_with}'"] * bool(request.decode_with)
    if request.preview_every is not None:
        by = f" by '{request.preview_with}'" if request.preview_with else ""
        said.append(f"previews every {request.preview_every} steps{by}")
    return said
