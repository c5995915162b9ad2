"""Makes extractors.npz with pytorch-fid, torch-fidelity, clean-fid and torchvision.

pip install torch scikit-image
pip install --no-deps torchvision torch-fidelity==0.4.0 pytorch-fid==0.3.0 clean-fid==0.1.35
python -m tests.parity.make.extractors [FILE.npz HEIGHT WIDTH]

Photographs are scikit-image's. Without a size they are small ones, of which the second size of
`extractor_cases` is made; with one, whole photographs of that size, all features kept.
"""

import sys
from pathlib import Path

import numpy as np
import skimage
import torch
from cleanfid.resize import build_resizer
from PIL import Image
from pytorch_fid import inception as pytorch_fid
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchvision.models import mobilenet_v2

from tests.parity.cases import extractor_cases as cases
from tests.parity.folders import ARRAYS
from tests.parity.make import torchvision_alone  # noqa: F401

NAMES = ("64", "192", "768", "2048", "logits_unbiased", "logits")
OURS = {"2048": "pool"}


def photographs(height, width):
    """Three, uint8 [3, height, width, 3], as large as they can be cropped and then resized."""
    made = []
    for name in ("astronaut", "chelsea", "coffee"):
        image = Image.fromarray(getattr(skimage.data, name)())
        side = min(image.width / width, image.height / height)
        image = image.crop((0, 0, round(width * side), round(height * side)))
        made.append(np.asarray(image.resize((width, height), Image.Resampling.LANCZOS)))
    return np.stack(made)


def loaded(network):
    """The network with drawn weights."""
    shapes = {key: w.shape for key, w in network.state_dict().items()}
    weights = {key: torch.tensor(w) for key, w in cases.state(shapes).items()}
    torch.nn.Module.load_state_dict(network, weights)
    return network.eval()


def without_a_file(make):
    """A network whose constructor would fetch its weights."""
    load = torch.nn.Module.load_state_dict
    torch.nn.Module.load_state_dict = lambda *_: None
    pytorch_fid.load_state_dict_from_url = lambda *_, **__: None
    try:
        return make()
    finally:
        torch.nn.Module.load_state_dict = load


def spatial(network, x):
    """Seven channels of the branch that TensorFlow calls mixed_6/conv, which torch-fidelity does
    not give."""
    caught = []
    handle = network.Mixed_6d.branch1x1.register_forward_hook(lambda *a: caught.append(a[2]))
    network(x)
    handle.remove()
    return caught[0][:, :7].permute(0, 2, 3, 1).flatten(1)


def arrays(images):
    """Features of uint8 [B, H, W, 3]."""
    planes = torch.tensor(images).permute(0, 3, 1, 2)
    path = Path("empty.pth")
    torch.save({}, path)
    try:
        network = without_a_file(lambda: FeatureExtractorInceptionV3("x", list(NAMES), str(path)))
    finally:
        path.unlink()
    network = loaded(network)
    found = {f"tensorflow {OURS.get(n, n)}": x for n, x in zip(NAMES, network(planes), strict=True)}
    found["tensorflow spatial"] = spatial(network, planes)
    theirs = without_a_file(pytorch_fid.fid_inception_v3)
    pytorch_fid.fid_inception_v3 = lambda: loaded(theirs)
    blocks = pytorch_fid.InceptionV3(range(4)).eval()(planes / 255.0)
    for name, x in zip(("64", "192", "768", "pool"), blocks, strict=True):
        found[f"pytorch {name}"] = x.mean(dim=(2, 3))
    resize = build_resizer("clean")
    clean = torch.tensor(np.stack([resize(image) for image in images])).permute(0, 3, 1, 2)
    # at 299 pixels torch-fidelity's own resize changes nothing; its input is whole numbers, so the
    # network is called by its layers, as clean-fid calls them
    found["clean pool"] = layers(network, (clean - 128) / 128)
    small = torch.tensor(
        np.stack([np.asarray(Image.fromarray(i).resize((224, 224), 3)) for i in images])
    )
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((small / 255.0 - mean) / std).permute(0, 3, 1, 2)
    mobile = loaded(mobilenet_v2(weights=None))
    found["mobilenet pool"] = mobile.features(x).mean(dim=(2, 3))
    found["mobilenet logits"] = mobile(x)
    return {name: x.numpy() for name, x in found.items()}


def layers(network, x):
    """From the first convolution to the pool."""
    names = [name for name, _ in network.named_children() if name != "fc"]
    for name in names:
        x = getattr(network, name)(x)
    return x.flatten(1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    if len(sys.argv) > 1:
        file, *size = sys.argv[1:]
        images = photographs(*map(int, size))
        np.savez(file, photographs=images, **arrays(images))
    else:
        small = photographs(*cases.SIZES[0])
        stored = {"photographs": small}
        for size in cases.SIZES:
            images = small if size == cases.SIZES[0] else cases.enlarged(small, size)
            for name, x in arrays(images).items():
                stored[f"{size[0]}x{size[1]} {name}"] = x[:, :: cases.KEPT]
        np.savez_compressed(ARRAYS / "extractors.npz", **stored)
