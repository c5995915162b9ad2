"""The sections of a request, and from options to a request that a run can meet."""

from typing import Any

from ldm_jax import runs
from ldm_jax.conditioning.condition import Condition
from ldm_jax.errors import InputError
from ldm_jax.sampling.adapters import Adapters, own_sections
from ldm_jax.sampling.classifier import ClassifierGuidance, ClassifierLabels
from ldm_jax.sampling.clip_guidance import CLIPGuidance
from ldm_jax.sampling.composition import Composition
from ldm_jax.sampling.decoding import Decoding
from ldm_jax.sampling.finishing import Finishing
from ldm_jax.sampling.guidance import Guidance
from ldm_jax.sampling.images import Images
from ldm_jax.sampling.interpolate import Interpolation
from ldm_jax.sampling.latents import Latents
from ldm_jax.sampling.output import Output
from ldm_jax.sampling.prior import Rows
from ldm_jax.sampling.sampler import Sampler
from ldm_jax.sampling.size import Size
from ldm_jax.sampling.start import Start
from ldm_jax.sampling.view import view
from ldm_jax.sections import Request, RunView, Section, default, once, unknown
from ldm_jax.settings import subclasses

FIRST = (Output, Images)
SECTIONS = (
    Size,
    Latents,
    Sampler,
    Guidance,
    ClassifierGuidance,
    ClassifierLabels,
    CLIPGuidance,
    Composition,
    Interpolation,
    Start,
    Adapters,
    Decoding,
    Finishing,
)
OF_FIRST_STAGE = (*FIRST, Rows, Latents)


def sections_of(run: RunView) -> tuple[type[Section], ...]:
    """What a run can be asked; the conditions' own sections come after the images', the
    adapters' at the end."""
    if not run.diffusion:
        check_prior(run)
        return OF_FIRST_STAGE
    if not run.model.first_stage.images:
        raise InputError(
            f"run '{run.run}' is a prior, which draws embeddings: expected a cascade that begins "
            "with it, such as configs/cascades/dalle2.py"
        )
    every = (*FIRST, *run.sections, *SECTIONS, *own_sections())
    return once(s for s in every if s.fits(run))


def check_prior(run: RunView) -> None:
    """Raises InputError for a first stage that is no model by itself."""
    settings = run.experiment.model
    if not settings.has_likelihood:
        raise InputError(
            f"run '{run.run}' is a first stage, a {type(settings).__name__}, with no prior to draw "
            "from: expected the run of a diffusion model, trained with a config such as "
            "configs/demo.py"
        )


def every_section() -> tuple[type[Section], ...]:
    """What any run can be asked."""
    conditions = [s for condition in subclasses(Condition) for s in condition.sections]
    return tuple(dict.fromkeys((*FIRST, *conditions, *SECTIONS, *own_sections(), Rows)))


def asked(run: RunView, **options: Any) -> Request:
    """The request of options by name, with nothing filled in.

    Raises:
        InputError: an option of other runs than this.
    """
    new = Request.of(sections_of(run))
    options = {n: tuple(x) if isinstance(x, list) else x for n, x in options.items()}
    mine = new.owners()
    others = {n: x for n, x in options.items() if n not in mine and x not in (None, (), False)}
    unknown(others, every_section(), run)
    known = {n for section in every_section() for n in section.__dataclass_fields__}
    for name in options.keys() - known:
        raise TypeError(f"sampling has no option '{name}'")
    given = {}
    for name, value in options.items():
        if name in mine:
            own = default(mine[name].__dataclass_fields__[name])
            one = isinstance(own, tuple) and not isinstance(value, tuple)  # of several
            given[name] = own if value is None else (value,) if one else value
    return new.replace(**given)


def filled(described: runs.Trained, asked: Request) -> tuple[runs.Trained, Request]:
    """A described run with the adapters that are asked for, and the request as it can meet it.

    Raises:
        InputError: what the model cannot be asked for, or adapters that do not fit it.
    """
    if "adapters" in asked:
        described = runs.attach(described, asked.adapters.adapter)
    return described, asked.filled(view(described))


def resolve(trained: runs.Trained, **options: Any) -> Request:
    """The request of options of sample.py by name, with the run's own settings for the rest.

    Raises:
        InputError: what the model cannot be asked for.
    """
    run = view(trained)
    return asked(run, **options).filled(run)
