"""What is looked at in a dataset's files before Minari reads them, as they may be other people's."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

__all__ = ["check_minari_files"]

# Deflate, the densest of HDF5's filters, makes at most 1032 bytes of one.
_BYTES_FROM_ONE = 1032
_SMALL = 1 << 16
_HDF5_FILE = "main_data.hdf5"


def check_minari_files(folder: Path) -> None:
    """Refuse what would run code and, in HDF5, reach into other files or ask for more memory than the file justifies.

    What is not bounded: elements of variable length, such as images as JPEG, and Minari's other formats.

    Args:
        folder: the one with ``metadata.json``.

    Raises:
        ValueError: the message names the file and what is wrong with it.
        OSError: a file cannot be read.
    """
    path = folder / "metadata.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(facts, dict):
        raise ValueError(f"{path} holds {type(facts).__name__}; expected a JSON object")
    for name in ("observation_space", "action_space"):
        if not isinstance(facts.get(name), str):
            raise ValueError(
                f"{path} has no {name}: Minari would make the dataset's environment to ask for it, which runs code "
                "that the file names. If you trust it, pass minari.MinariDataset(folder)"
            )
    if facts.get("data_format") == "hdf5":
        _check_hdf5(folder / _HDF5_FILE)


def _check_hdf5(path: Path) -> None:
    import h5py  # type: ignore[import-not-found, import-untyped, unused-ignore]

    # The functions return what is wrong, which ends the walk: an exception would go through HDF5's own code.
    def link_to(name: str, link: Any) -> str | None:
        return None if isinstance(link, h5py.HardLink) else f"{name!r} is a link to {link.path!r}"

    def foreign_or_huge(name: str, item: Any) -> str | None:
        if h5py.h5o.get_info(item.id).rc != 1:
            return f"{name!r} has several names, each of which would be read"
        if not isinstance(item, h5py.Dataset):
            return None
        if item.is_virtual or item.external:
            return f"{name!r} lies in other files"
        stored = item.id.get_storage_size()
        # A chunk is unpacked as a whole, however little of it the dataset has.
        claimed = max(item.nbytes, math.prod(item.chunks or ()) * item.dtype.itemsize)
        if claimed > _SMALL + _BYTES_FROM_ONE * stored:
            return f"{name!r} claims {claimed} bytes, of which the file holds {stored}"
        return None

    with h5py.File(path, "r") as file:
        wrong = file.visititems_links(link_to) or file.visititems(foreign_or_huge)
    if wrong:
        raise ValueError(f"{path}: {wrong}; expected data in the file itself")
