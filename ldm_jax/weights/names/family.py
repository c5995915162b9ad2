"""What models are called by the width of the tokens that they attend to."""

FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}


def family(width: int | None) -> str:
    """What a model that attends to tokens of a width is called."""
    return FAMILIES.get(width, f"a model of tokens of width {width}")
