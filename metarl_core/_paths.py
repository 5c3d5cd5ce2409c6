"""Where the package keeps what environments of one's own are compiled against."""

from __future__ import annotations

from metarl_core import _core

__all__ = ["get_cmake_dir", "get_include"]


def _installed(name: str) -> str:
    from pathlib import Path  # late: takes a tenth of the package's import

    # Beside the compiled core: of an editable install the Python files are elsewhere.
    folder = Path(_core.__file__).resolve().parent / name
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is missing: this installation of metarl_core is incomplete")
    return str(folder)


def get_include() -> str:
    """Return the folder of the C++ headers, for ``#include <metarl/env/environment.h>``.

    Raises:
        FileNotFoundError: The installation lacks it.
    """
    return _installed("include")


def get_cmake_dir() -> str:
    """Return the folder of the CMake package, for ``-Dmetarl_core_DIR=``.

    Raises:
        FileNotFoundError: The installation lacks it.
    """
    return _installed("cmake")
