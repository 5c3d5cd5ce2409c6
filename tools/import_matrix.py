"""Import and use a wheel beside several NumPys and torches, at every instruction-set level: import_matrix.py WHEEL ...

    make import-matrix                       # the wheels of dist/, for every Python that has one

Each row is a virtual environment of its own: it imports the package, runs tools/smoke_test.py and compares the replay
buffer's and the environments' hashes with those of the tests. The hash in the table is over all of them, so equal bits
are equal hashes; the program fails if two rows differ. `import, ms` is the median processor time of 15 processes that
import the package, less that of 15 that import NumPy alone; above 60 ms it fails (--no-limit: it does not).

--torch takes the build of torch that pip finds: those on PyPI bring CUDA along (gigabytes), so by default there is one.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import golden_hashes
from find_python import find_python

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "import-matrix"
RUNS = 15
LIMIT_MS = 60.0
LEVELS = ("baseline", "avx2", "avx512")
EMULATED = (("Nehalem", "baseline"), ("Haswell", "avx2"))  # qemu's processors, and the level that fits each

# NumPy by Python: the oldest and the newest that have wheels for it.
NUMPY_FOR = {"3.10": ("numpy==1.26.4", "numpy"), "3.11": ("numpy==1.26.4", "numpy"),
             "3.12": ("numpy==1.26.4", "numpy"), "3.13": ("numpy",)}  # fmt: skip
TORCH_SCRIPT = """
import numpy as np, torch, metarl_core as mc
buffer = mc.PrioritizedReplayBuffer(64, {"x": ((3,), np.float32)}, seed=1)
buffer.add(x=np.arange(96, dtype=np.float32).reshape(32, 3))
batch = buffer.sample(8)
x = torch.from_numpy(batch["x"])
assert x.shape == (8, 3) and x[0, 1] == x[0, 0] + 1, x
print(torch.__version__)
"""


def python_of(wheel: Path) -> str:
    """Return the Python version a wheel is for, such as 3.11."""
    tag = re.search(r"-cp3(\d+)-", wheel.name)
    if tag is None:
        sys.exit(f"import_matrix.py: expected a wheel for CPython, got {wheel.name}")
    return f"3.{tag.group(1)}"


def install(name: str, version: str, wheel: Path, *packages: str) -> Path:
    """Make an environment of the wheel and packages and return its Python."""
    python = find_python(version)
    if python is None:
        sys.exit(f"import_matrix.py: {wheel.name} needs Python {version}, which is not on this machine")
    folder = WORK / name
    subprocess.run([str(python), "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *packages, str(wheel)], check=True)
    return folder / "bin" / "python"


def output(command: list[str], script: str, **env: str) -> str:
    """Run a script in a clean environment and return what it printed."""
    clean = {name: value for name, value in os.environ.items() if name not in ("METARL_ISA", "PYTHONPATH")}
    done = subprocess.run(
        [*command, "-c", script], env={**clean, **env}, capture_output=True, text=True, cwd=WORK, check=False
    )
    if done.returncode != 0:
        sys.exit(f"import_matrix.py: {' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def import_ms(python: Path) -> float:
    """Return the milliseconds of processor time that the import takes on top of NumPy's: medians, interleaved."""
    seconds: dict[str, list[float]] = {"import numpy": [], "import metarl_core": []}
    for _ in range(RUNS):
        for script, found in seconds.items():
            start = resource.getrusage(resource.RUSAGE_CHILDREN)
            output([str(python)], script)
            end = resource.getrusage(resource.RUSAGE_CHILDREN)
            found.append(end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime)
    return 1000.0 * (statistics.median(seconds["import metarl_core"]) - statistics.median(seconds["import numpy"]))


def check(python: Path, version: str, torch: bool) -> list[dict[str, str]]:
    """Return the rows of one environment: the highest level, and where there is no torch every lower one."""
    command = [str(python)]
    smoke = str(ROOT / "tools" / "smoke_test.py")
    subprocess.run([*command, "-W", "error", smoke], check=True, cwd=WORK, stdout=subprocess.DEVNULL)
    numpy = output(command, "import numpy; print(numpy.__version__)")
    row = {"Python": version, "NumPy": numpy, "torch": output(command, TORCH_SCRIPT) if torch else "none"}
    runs: list[tuple[str, list[str], str | None]] = [(golden_hashes.active_level(command), command, None)]
    if not torch:
        runs += [(f"{level} (capped)", command, level) for level in LEVELS[: LEVELS.index(runs[0][0])]]
    rows = []
    for number, (shown, with_emulator, level) in enumerate(runs):
        ms = f"{import_ms(python):.1f}" if number == 0 else ""
        rows.append({**row, "level": shown, "hash": golden_hashes.digest(with_emulator, level), "import, ms": ms})
    return rows


def emulated(python: Path, version: str) -> list[dict[str, str]]:
    """Return a row for each processor that qemu-user stands in for; none where it is not found."""
    qemu = os.environ.get("METARL_QEMU") or shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
    rows = []
    for processor, level in EMULATED if qemu else ():
        # -0: the virtual environment is found by the name that the process was started by.
        command = [str(qemu), "-cpu", processor, "-0", str(python), os.path.realpath(python)]
        active = golden_hashes.active_level(command)
        if active != level:
            sys.exit(f"import_matrix.py: expected {level} on an emulated {processor}, got {active}")
        numpy = output(command, "import numpy; print(numpy.__version__)")
        row = {"Python": version, "NumPy": numpy, "torch": "none", "level": f"{level} (emulated {processor})"}
        rows.append({**row, "hash": golden_hashes.digest(command), "import, ms": ""})
    return rows


def main() -> None:
    """Run every row and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL")
    parser.add_argument("--no-limit", action="store_true", help=f"do not fail above {LIMIT_MS:.0f} ms")
    parser.add_argument(
        "--torch", action="append", help="version of torch to try (repeat for several; default: 2.13.0)"
    )
    parser.add_argument("--torch-python", default="3.11", help="the version whose wheel is tried beside torch")
    args = parser.parse_args()
    args.torch = args.torch or ["2.13.0"]

    WORK.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    for wheel in sorted(args.wheels):
        version, wheel = python_of(wheel), wheel.resolve()
        for number, numpy in enumerate(NUMPY_FOR.get(version, ("numpy",))):
            python = install(f"{version}-numpy{number}", version, wheel, numpy)
            rows += check(python, version, torch=False)
        rows += emulated(python, version)
        for torch in args.torch if version == args.torch_python else ():
            # torch before 2.3 was built for NumPy 1.
            numpy = "numpy<2" if torch.startswith(("2.0.", "2.1.", "2.2.")) else "numpy"
            rows += check(
                install(f"{version}-torch{torch}", version, wheel, numpy, f"torch=={torch}"), version, torch=True
            )

    print("| " + " | ".join(rows[0]) + " |\n" + "| --- " * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(row.values()) + " |")
    hashes = {row["hash"] for row in rows}
    if len(hashes) != 1:
        sys.exit(f"import_matrix.py: the rows' bits differ: {sorted(hashes)}")
    slow = [row for row in rows if row["import, ms"] and float(row["import, ms"]) > LIMIT_MS]
    if slow and not args.no_limit:
        sys.exit(f"import_matrix.py: {len(slow)} rows import in more than {LIMIT_MS:.0f} ms")
    print(f"{len(rows)} rows, the same bits in all of them")


if __name__ == "__main__":
    main()
