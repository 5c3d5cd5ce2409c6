"""Let torchrl's compiled wheel load with torch 2.13.

The wheel was linked against a newer torch, whose plain wheels bring gigabytes of CUDA, and no source distribution is
published. Two functions of torch's autograd are all that it misses; its segment trees never call them. This builds a
small library that defines them (and aborts when called), which the driver loads before torchrl.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

SHIM = Path(sys.prefix) / "autograd_stand_in.so"
SITE = Path(sysconfig.get_path("purelib"))


def missing_symbol(error: str) -> str | None:
    found = re.search(r"undefined symbol: (\w+)", error)
    return found.group(1) if found else None


def main() -> int:
    extension = next((SITE / "torchrl").glob("_torchrl*.so"))
    load = (
        "import sys, ctypes, os, torch\n"
        f"os.path.exists({str(SHIM)!r}) and ctypes.CDLL({str(SHIM)!r}, ctypes.RTLD_GLOBAL)\n"
        f"ctypes.PyDLL({str(extension)!r})\n"
    )
    symbols: list[str] = []
    for _ in range(8):
        result = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=False)
        if result.returncode == 0:
            print(f"loads with {len(symbols)} stand-ins: {symbols}")
            return 0
        symbol = missing_symbol(result.stderr)
        if symbol is None or symbol in symbols or "8autograd" not in symbol:
            break
        symbols.append(symbol)
        source = "#include <stdlib.h>\n" + "".join(f"void {name}(void) {{ abort(); }}\n" for name in symbols)
        subprocess.run(["cc", "-x", "c", "-", "-shared", "-fPIC", "-o", str(SHIM)], input=source, text=True, check=True)
    print(f"error: torchrl's extension does not load with torch 2.13: {result.stderr.strip().splitlines()[-1]}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
