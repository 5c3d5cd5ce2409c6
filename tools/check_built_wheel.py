"""Checks of one manylinux wheel: tag, symbols, size, contents, and that it works with the expected bits."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import golden_hashes
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

# The kernels are there three times, the sources of the core once; the headroom is for environments to come.
MAX_BYTES = 5 * 1024 * 1024
MAX_CUDA_BYTES = 1536 * 1024  # what _cuda, with CUDA's runtime and all kernels, adds to a download
# W002, duplicate files: headers of the core that environments of one's own include, and agents with equal settings.
IGNORED = "W002"


def _extensions(wheel: Path) -> dict[str, bytes]:
    """Return the extension modules by name: _core, and _cuda where it was built."""
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if re.fullmatch(r"metarl_core/_\w+\.[^/]*so", n)]
        found = {Path(name).name.split(".")[0]: archive.read(name) for name in names}
    if "_core" not in found:
        sys.exit(f"{wheel.name}: it holds no metarl_core/_core*.so")
    return found


def exported(elf: ELFFile) -> list[str]:
    """Return the names that the dynamic linker sees."""
    symbols = elf.get_section_by_name(".dynsym").iter_symbols()
    return [s.name for s in symbols if s.name and s["st_shndx"] != "SHN_UNDEF" and s["st_info"]["bind"] != "STB_LOCAL"]


def newest_glibc(elf: ELFFile) -> tuple[int, ...]:
    """Return the newest version of glibc whose symbols are needed."""
    found = {(0,)}
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, versions in section.iter_versions():
                names = [v.name for v in versions if v.name.startswith("GLIBC_2")]
                found.update(tuple(int(part) for part in name[6:].split(".")) for name in names)
    return max(found)


def highest_level() -> str:
    """Return the level that Linux says this processor has."""
    flags = set(re.findall(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)[0].split())
    if not {"avx2", "bmi1", "bmi2", "abm"} <= flags:
        return "baseline"
    return "avx512" if {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"} <= flags else "avx2"


def check(python: Path, wheel: Path, glibc: tuple[int, int]) -> dict[str, str]:
    """Check a wheel and return its row of the table.

    Args:
        python: The interpreter to install it for.
        wheel: The wheel, with its manylinux tag.
        glibc: The version that the tag promises.

    Raises:
        SystemExit: A check failed; the message says which.
    """
    tag = f"manylinux_{glibc[0]}_{glibc[1]}_x86_64"
    size, extensions = wheel.stat().st_size, _extensions(wheel)
    show = [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)]
    shown = json.loads(subprocess.run(show, capture_output=True, text=True, check=True).stdout)["overall_tag"]
    fits = re.fullmatch(r"manylinux_(\d+)_(\d+)_x86_64", shown)
    failures = [
        (tag not in wheel.name, f"its tag is not {tag}"),
        (fits is None or (int(fits[1]), int(fits[2])) > glibc, f"auditwheel finds it fit for {shown}, not for {tag}"),
        (size > MAX_BYTES, f"it has {size} bytes, expected at most {MAX_BYTES}"),
    ]
    exports, needed = [], (0,)
    for module, content in sorted(extensions.items()):
        elf = ELFFile(io.BytesIO(content))
        names, version = exported(elf), newest_glibc(elf)
        failures += [
            (names != [f"PyInit_{module}"], f"{module} exports {len(names)} symbols, not its entry alone: {names[:5]}"),
            (version > glibc, f"{module} needs glibc {version}, expected at most {glibc}"),
            (elf.get_section_by_name(".symtab") is not None, f"{module} is not stripped"),
            (elf.get_section_by_name(".debug_info") is not None, f"{module} has debug information"),
        ]
        exports += names
        needed = max(needed, version)
    with zipfile.ZipFile(wheel) as archive:
        cuda = sum(i.compress_size for i in archive.infolist() if i.filename.startswith("metarl_core/_cuda."))
    failures.append((cuda > MAX_CUDA_BYTES, f"_cuda has {cuda} bytes, expected at most {MAX_CUDA_BYTES}"))
    for failed, message in failures:
        if failed:
            sys.exit(f"{wheel.name}: {message}")
    subprocess.run([sys.executable, "-m", "check_wheel_contents", "--ignore", IGNORED, str(wheel)], check=True)

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([str(python), "-m", "venv", folder], check=True)
        installed = [str(Path(folder) / "bin" / "python")]
        pip = [*installed, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, str(wheel)], check=True)
        smoke = Path(__file__).with_name("smoke_test.py")
        subprocess.run([*installed, "-W", "error", str(smoke)], check=True, cwd=folder)
        levels = ("baseline", "avx2", "avx512")
        run = [level for level in levels if golden_hashes.active_level(installed, level) == level]
        if run[-1] != (expected := highest_level()):
            sys.exit(f"{wheel.name}: the highest level that it runs here is {run[-1]}; this processor has {expected}")
        hashes = {golden_hashes.digest(installed, level) for level in run}
    return {
        "wheel": wheel.name,
        "KiB": f"{size / 1024:.0f}",
        "glibc": ".".join(map(str, needed)),
        "_cuda KiB": f"{cuda / 1024:.0f}" if cuda else "-",
        "exports": ", ".join(exports),
        "same bits": f"{' '.join(sorted(hashes))} ({', '.join(run)})",
    }


def table(rows: list[dict[str, str]]) -> str:
    """Return rows with equal keys as a Markdown table."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
