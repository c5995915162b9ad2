"""Makes feature_metrics.npz from torch-fidelity, and from the formulas of what it has not.

pip install torch; pip install --no-deps torchvision torch-fidelity==0.4.0
python -m tests.parity.make.feature_metrics

Density and coverage are those of Naeem et al. 2020, eq. 4 and 5, and CMMD that of Jayasumana et al.
2024, all with distances as torch finds them.
"""

import numpy as np
import torch
from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

from tests.parity.cases import feature_sets as sets
from tests.parity.folders import ARRAYS
from tests.parity.make import torchvision_alone  # noqa: F401

samples, real = sets.features()
found = {}


def moments(x):
    return {"mu": x.mean(axis=0), "sigma": np.cov(x, rowvar=False)}


wide = [x.astype(np.float64) for x in (samples, real)]
stats = [moments(x) for x in wide]
(found["fid"],) = metric_fid.fid_statistics_to_metric(*stats, verbose=False).values()
tensors = [torch.tensor(x) for x in wide]
kid = metric_kid.kid_features_to_metric(
    *tensors, kid_subsets=sets.SUBSETS, kid_subset_size=sets.SUBSET_SIZE, verbose=False
)
found["kid mean"], found["kid std"] = kid.values()
isc = metric_isc.isc_features_to_metric(torch.tensor(sets.logits()), splits=sets.SPLITS)
found["isc mean"], found["isc std"] = isc.values()
in_order = metric_isc.isc_features_to_metric(
    torch.tensor(sets.logits()), splits=sets.SPLITS, shuffle=False
)
found["isc in order"] = in_order["inception_score_mean"]
prc = metric_prc.prc_features_to_metric(*tensors, prc_neighborhood=3, verbose=False)
found["precision"], found["recall"], _ = prc.values()

apart, own = torch.cdist(tensors[1], tensors[0]).numpy(), torch.cdist(tensors[1], tensors[1])
reach = np.sort(own.numpy(), axis=1)[:, 5]
found["density"] = (apart < reach[:, None]).sum(axis=0).mean() / 5
found["coverage"] = (apart.min(axis=1) < reach).mean()

x, y = (torch.nn.functional.normalize(z, dim=1) for z in tensors)


def kernel(a, b):
    return torch.exp(-(torch.cdist(a, b) ** 2) / (2 * 10**2)).mean()


found["cmmd"] = 1000 * float(kernel(x, x) + kernel(y, y) - 2 * kernel(x, y))
np.savez(ARRAYS / "feature_metrics.npz", **found)
for name, value in found.items():
    print(f"{name}: {value:.9g}")
