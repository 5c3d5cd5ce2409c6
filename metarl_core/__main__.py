"""``python -m metarl_core``: where the C++ headers and the CMake package are, for build scripts."""

from __future__ import annotations

import argparse

import metarl_core


def main() -> None:
    """Print the folder that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m metarl_core", description=main.__doc__)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--include", action="store_true", help="the folder of the C++ headers")
    group.add_argument("--cmakedir", action="store_true", help="the folder of the CMake package")
    group.add_argument("--version", action="store_true", help="the version of the package")
    args = parser.parse_args()
    if args.include:
        print(metarl_core.get_include())
    elif args.cmakedir:
        print(metarl_core.get_cmake_dir())
    else:
        print(metarl_core.__version__)


main()
