"""Lets the torchvision of the package index be imported beside a CPU build of torch, in vLLM's environment.

Its compiled part needs the CUDA build and is left out by itself; its Python part then misses the schemas of
two operators, which are declared here before it is imported. Every process of vLLM does this anew, so it lies
on PYTHONPATH.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class DeclaresOperators(MetaPathFinder):
    """Declares them when torchvision is first looked for; finds nothing itself."""

    library: Any = None
    """Kept: the schemas go with it."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname != "torchvision" or self.library is not None:
            return
        import torch

        self.library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            self.library.define(name + BOXES)


sys.meta_path.insert(0, DeclaresOperators())
