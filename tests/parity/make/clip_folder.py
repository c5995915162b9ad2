"""A folder of a CLIP that this project writes, read by transformers, and what both see.

    python -m tests.parity.make.clip_folder write DIR    with this project
    pip install torch==2.13.0 transformers==5.23.0 pillow
    python -m tests.parity.make.clip_folder check DIR                       with transformers

`write` draws a small model with a tokenizer of its own, exports it to DIR/clip and keeps the
cosines of images and captions, prepared here from files and words. `check` lets CLIPModel,
CLIPTokenizer and CLIPImageProcessor do the same, and prints how far the cosines are apart.
"""

import sys
from pathlib import Path

import numpy as np

CAPTIONS = ["a red block", "A blue block on a red one!", "", "something it has never seen 🦊 " * 9]
SIZE = 28


def write(folder: Path) -> None:
    """Exports a model, and looks."""
    import jax
    from PIL import Image

    from ldm_jax import convert, runs
    from ldm_jax.config import CLIPExperiment, CLIPModel, Data
    from ldm_jax.data import transforms
    from ldm_jax.encoders.clip.model import embed_captions, embed_images, init, unit
    from ldm_jax.encoders.clip.vision import normalised
    from ldm_jax.encoders.tokenizers import clip
    from ldm_jax.encoders.tokenizers.tokenizer import encode

    pieces = clip.learn(CAPTIONS, 540, 16, "openai")
    made = CLIPExperiment(
        model=CLIPModel(
            dim=12, patch=7, vision_channels=32, vision_layers=2, vision_heads=4, text_channels=24,
            text_layers=3, text_heads=4, length=16, vocab_size=pieces.get_vocab_size(),
        ),
        data=Data(image_size=SIZE),
    )  # fmt: skip
    of = made.build()
    params = {**init(of, jax.random.key(0)), "log_scale": np.float32(2.0)}
    runs.write_imported(folder / "run", made, {"clip": params}, None, {"tokens": pieces})
    convert.convert(folder / "run", folder / "clip")
    rng = np.random.default_rng(0)
    images = []
    for n, (height, width) in enumerate([(28, 28), (40, 60), (90, 50)]):
        file = folder / f"{n}.png"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(file)
        image = transforms.resize(transforms.decode(file, (0, 0, 0)), SIZE)
        images.append(transforms.center_crop(np.asarray(image), SIZE))
    x = embed_images(of, params, normalised(np.float32(images) / 255))
    y = embed_captions(of, params, np.stack([encode(pieces, text) for text in CAPTIONS]))
    np.savez(folder / "cosines.npz", cosines=np.asarray(unit(x) @ unit(y).T))


def check(folder: Path) -> None:
    """Loads it strictly, and looks."""
    import torch
    from PIL import Image
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    model, said = CLIPModel.from_pretrained(folder / "clip", output_loading_info=True)
    print({name: found for name, found in said.items() if found})
    tokens = CLIPTokenizer.from_pretrained(folder / "clip")(
        CAPTIONS, padding="max_length", truncation=True, return_tensors="pt"
    )
    images = [Image.open(folder / f"{n}.png") for n in range(3)]
    pixels = CLIPImageProcessor.from_pretrained(folder / "clip")(images, return_tensors="pt")
    with torch.no_grad():
        found = model(input_ids=tokens["input_ids"], pixel_values=pixels["pixel_values"])
    cosines = (found.image_embeds @ found.text_embeds.T).numpy()
    apart = np.abs(cosines - np.load(folder / "cosines.npz")["cosines"])
    print(f"scale of logits {model.logit_scale.item():.3f}, cosines differ by {apart.max():.2g}")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
