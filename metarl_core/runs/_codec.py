"""Nested Python state as a JSON tree plus a list of raw arrays, exactly and without pickle.

The tree holds plain ``None``, ``bool``, ``str``, ``int`` up to 2**53 and finite ``float`` as JSON values; everything
else is a one-entry object whose key names the kind:

======  ==============================================================================================
``i``   int beyond 2**53, as hexadecimal text
``f``   float that JSON lacks (nan with its payload, inf), the 8 bytes as hexadecimal text
``b``   bytes, hexadecimal
``l``   list; ``t`` tuple
``d``   dict as [[key, value], ...]: keeps the order and keys that are not strings; ``o`` OrderedDict
``a``   numpy array, ``s`` numpy scalar, ``T`` torch tensor: the number of the section with the bytes
======  ==============================================================================================
"""

from __future__ import annotations

import json
import math
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_DEPTH", "Section", "decode", "encode"]

MAX_DEPTH = 100
_EXACT_INT = 2**53
_ARRAY_KINDS = "biufcSUMm"


class Section(NamedTuple):
    """One array of the state: what the index says of it, and how to get its bytes when its turn to be written comes."""

    dtype: str
    shape: tuple[int, ...]
    path: str
    contiguous: Callable[[], npt.NDArray[Any]]


def encode(state: Any, sections: list[Section], path: str = "state", depth: int = 0) -> Any:
    """Describe ``state`` as a JSON tree and append its arrays to ``sections``.

    Args:
        state: None, bool, int, float, str, bytes, numpy arrays and scalars, torch tensors, and lists, tuples, dicts
            and OrderedDicts of these.
        sections: receives the arrays, in the order of the numbers in the tree.
        path: where in the whole state this part is; for messages.
        depth: how deep this part is nested.

    Raises:
        TypeError: a part has another type (subclasses too: they would come back as their base class).
        ValueError: nested deeper than ``MAX_DEPTH`` (a cycle, most likely).
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"{path} is nested deeper than {MAX_DEPTH} levels")
    kind = type(state)
    if state is None or kind is bool or kind is str:
        return state
    if kind is int:
        return state if abs(state) <= _EXACT_INT else {"i": hex(state)}
    if kind is float:
        return state if math.isfinite(state) else {"f": struct.pack("<d", state).hex()}
    if kind is bytes:
        return {"b": state.hex()}
    if kind is list or kind is tuple:
        items = [encode(item, sections, f"{path}[{i}]", depth + 1) for i, item in enumerate(state)]
        return {"l" if kind is list else "t": items}
    if kind is dict or kind is OrderedDict:
        pairs = [
            [encode(key, sections, f"{path} key", depth + 1), encode(item, sections, f"{path}[{key!r}]", depth + 1)]
            for key, item in state.items()
        ]
        return {"d" if kind is dict else "o": pairs}
    if kind is np.ndarray or isinstance(state, np.generic):
        array = np.asarray(state)
        if array.dtype.kind not in _ARRAY_KINDS or array.dtype.itemsize == 0:
            raise TypeError(f"{path} has dtype {array.dtype}, which a checkpoint cannot hold")
        sections.append(Section(array.dtype.str, array.shape, path, lambda: np.ascontiguousarray(array)))
        return {"a" if kind is np.ndarray else "s": len(sections) - 1}
    if _is_tensor(state):
        sections.append(_tensor_section(state, path))
        return {"T": len(sections) - 1}
    raise TypeError(f"{path} is a {kind.__module__}.{kind.__qualname__}, which a checkpoint cannot hold")


def _is_tensor(value: Any) -> bool:
    # A tensor can only exist where torch was imported already, so this needs no import of its own.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _tensor_section(tensor: Any, path: str) -> Section:
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise TypeError(f"{path} is a tensor of layout {tensor.layout}, which a checkpoint cannot hold")

    def contiguous() -> npt.NDArray[Any]:
        # A conjugated or negated view shares memory with other values; resolve it before looking at raw bytes.
        flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        array: npt.NDArray[Any] = flat.view(torch.uint8).numpy()
        return array

    return Section(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), path, contiguous)


def decode(tree: Any, arrays: list[npt.NDArray[np.uint8]], table: list[Any]) -> Any:
    """Rebuild a state from its tree and the raw bytes of its sections.

    Args:
        tree: what ``encode`` returned.
        arrays: the bytes of each section, a fresh uint8 array each; the result keeps them.
        table: for each section a mapping with ``dtype`` and ``shape``.

    Raises:
        ValueError, TypeError, KeyError, IndexError: the tree or the table is not one that ``encode`` wrote.
    """
    if tree is None or isinstance(tree, (bool, str, int, float)):
        return tree
    if not isinstance(tree, dict) or len(tree) != 1:
        raise ValueError(f"unknown node {json.dumps(tree)[:60]}")
    ((tag, value),) = tree.items()
    if tag in ("l", "t"):
        items = [decode(item, arrays, table) for item in value]
        return items if tag == "l" else tuple(items)
    if tag in ("d", "o"):
        pairs = [(decode(key, arrays, table), decode(item, arrays, table)) for key, item in value]
        return dict(pairs) if tag == "d" else OrderedDict(pairs)
    if tag == "i":
        return int(value, 16)
    if tag == "f":
        return struct.unpack("<d", bytes.fromhex(value))[0]
    if tag == "b":
        return bytes.fromhex(value)
    if tag in ("a", "s"):
        dtype = np.dtype(table[value]["dtype"])
        if dtype.kind not in _ARRAY_KINDS:
            raise ValueError(f"dtype {dtype} is not one that a checkpoint holds")
        array = arrays[value].view(dtype).reshape(table[value]["shape"])
        return array if tag == "a" else array[()]
    if tag == "T":
        return _tensor(arrays[value], table[value])
    raise ValueError(f"unknown kind {tag!r}")


def _tensor(array: npt.NDArray[np.uint8], entry: Any) -> Any:
    import torch

    dtype = getattr(torch, entry["dtype"], None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"unknown tensor type {entry['dtype']!r}")
    if not array.size:  # from_numpy gives it a stride that view refuses
        return torch.empty(entry["shape"], dtype=dtype)
    return torch.from_numpy(array).view(dtype).reshape(entry["shape"])
