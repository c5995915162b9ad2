"""Makes the references for LPIPS with the original code. Needs torch, and

pip install --no-deps lpips==0.1.4 stlpips-pytorch==0.0.2

python -m tests.parity.make.perceptual_reference [FILE.npz HEIGHT WIDTH]

torchvision is not needed: where the packages ask it for a classifier, they are given its layers.
All is computed in float64, where no unit is so near to its threshold that rounding switches it.
"""

import sys
import types
from unittest import mock

import numpy as np
import torch
from torch import nn

from tests.parity.cases import perceptual_cases as cases
from tests.parity.folders import ARRAYS


class Fire(nn.Module):
    """SqueezeNet's module."""

    def __init__(self, i, narrow, wide):
        super().__init__()
        self.squeeze = nn.Conv2d(i, narrow, 1)
        self.expand1x1 = nn.Conv2d(narrow, wide, 1)
        self.expand3x3 = nn.Conv2d(narrow, wide, 3, padding=1)

    def forward(self, x):
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)


def vgg16():
    """Its layers, in torchvision's order."""
    layers, i = [], 3
    for channels, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(i, channels, 3, padding=1), nn.ReLU()]
            i = channels
        layers.append(nn.MaxPool2d(2, 2))
    return layers


def alexnet():
    """Its layers, in torchvision's order."""
    return [
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    ]


def squeezenet1_1():
    """Its layers, in torchvision's order."""

    def pool():
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return [
        *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool()),
        *(Fire(64, 16, 64), Fire(128, 16, 64), pool()),
        *(Fire(128, 32, 128), Fire(256, 32, 128), pool()),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
    ]


def imported():
    """The two packages, without what they import and do not need here."""
    torchvision = types.ModuleType("torchvision")
    torchvision.models = types.SimpleNamespace(
        **{
            layers.__name__: lambda layers=layers, **_: types.SimpleNamespace(
                features=nn.Sequential(*layers())
            )
            for layers in (vgg16, alexnet, squeezenet1_1)
        }
    )
    unneeded = {name: mock.MagicMock() for name in ("IPython", "torchsummary", "scipy", "tqdm")}
    unneeded["scipy.ndimage"] = mock.MagicMock()
    with mock.patch.dict(sys.modules, {"torchvision": torchvision, **unneeded}):
        import lpips
        from stlpips_pytorch import stlpips
    return lpips, stlpips


def model(name):
    """The original network, with drawn or with its published weights."""
    lpips, stlpips = imported()
    network, _, published = name.partition(" ")
    short, _, variant = network.partition("_")
    if variant:
        made = stlpips.LPIPS(net=short, variant=variant, verbose=False)
    else:
        made = lpips.LPIPS(net=short, pnet_rand=True, pretrained=False, verbose=False)
    if not published:
        state = {key: torch.tensor(w) for key, w in cases.state(network).items()}
        left = made.load_state_dict(state, strict=False)
        assert not left.unexpected_keys
        constants = ("scaling_layer.", "lins.")  # and the filters of blurs
        missing = [key for key in left.missing_keys if not key.startswith(constants)]
        assert all(key.endswith(".filt") for key in missing), missing
    return made.eval()


def arrays(name, size):
    """Distances, and the gradient of the loss by x, of which every third pixel is kept."""
    x, y, cotangent = (torch.tensor(w).double() for w in (*cases.images(size), cases.cotangent()))
    x.requires_grad_()
    found = model(name).double()(x, y)[:, 0, 0, 0]
    (gradient,) = torch.autograd.grad((found * cotangent).sum(), x)
    made = {"distance": found, "gradient": gradient[..., ::3, ::3]}
    return {f"{name}:{key}": array.detach().numpy() for key, array in made.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    file, *size = sys.argv[1:] or [ARRAYS / "perceptual.npz", *cases.SIZE]
    size = tuple(map(int, size))
    every = [*cases.NETWORKS, *(f"{network} published" for network in cases.PUBLISHED)]
    found = {"size": np.asarray(size)}
    for name in every:
        found |= arrays(name, size)
    np.savez_compressed(file, **found)
