"""Lets torchvision be imported beside a torch that it was not built for: its operators, of which
nothing here makes use, are declared and not defined."""

import torch

_library = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
