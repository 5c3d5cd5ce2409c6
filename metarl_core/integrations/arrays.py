"""Tensors of other libraries as the arrays that the core takes."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["array_of"]


def array_of(tensor: Tensor) -> NDArray[Any]:
    """On the CPU, without its graph; bfloat16, which NumPy does not have, becomes float32."""
    found = tensor.detach().cpu()
    array: NDArray[Any] = (found.float() if found.dtype is torch.bfloat16 else found).numpy()
    return array
