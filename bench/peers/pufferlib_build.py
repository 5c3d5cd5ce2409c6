"""Build pufferlib's CartPole from its source distribution, without what its own setup would download.

There is no wheel, and the source's setup fetches raylib and Box2D from outside the package index to compile every
game. Only CartPole is measured here: it needs raylib's header alone (for drawing, which is never called), and the
``raylib`` package has it. The compiler flags are those of pufferlib's own setup.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

VERSION = "3.0.0"
SITE = Path(sysconfig.get_path("purelib"))


def main() -> int:
    work = Path(sys.prefix) / "source"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    # Preparing the metadata fails (that is where it downloads); the unpacked source stays behind.
    command = [sys.executable, "-m", "pip", "download", "--no-clean", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--dest", str(work), f"pufferlib=={VERSION}"],
        env={**os.environ, "TMPDIR": str(work)},
        capture_output=True,
        check=False,
    )
    bindings = list(work.glob("**/pufferlib/ocean/cartpole/binding.c"))
    if not bindings:
        print(f"error: the source distribution of pufferlib {VERSION} could not be unpacked")
        return 1
    source = bindings[0].parents[2]
    shutil.rmtree(SITE / "pufferlib", ignore_errors=True)
    shutil.copytree(source, SITE / "pufferlib", ignore=shutil.ignore_patterns("resources"))
    shutil.rmtree(work)

    import numpy as np
    import raylib

    headers = Path(sys.prefix) / "raylib_header"
    headers.mkdir(exist_ok=True)
    text = (Path(raylib.__file__).parent / "raylib.h.modified").read_text(encoding="utf-8")
    (headers / "raylib.h").write_text(text, encoding="utf-8")
    folder = SITE / "pufferlib" / "ocean" / "cartpole"
    target = folder / f"binding{sysconfig.get_config_var('EXT_SUFFIX')}"
    flags = "-O2 -flto -fwrapv -fPIC -shared -DPLATFORM_DESKTOP -DNPY_NO_DEPRECATED_API=NPY_1_7_API_VERSION"
    includes = [sysconfig.get_path("include"), np.get_include(), str(headers)]
    command = ["gcc", *flags.split(), "-Wno-implicit-function-declaration", *(f"-I{path}" for path in includes)]
    link = ["-Bsymbolic-functions", "-Wl,-z,lazy", "-lm"]
    subprocess.run([*command, str(folder / "binding.c"), "-o", str(target), *link], check=True)
    # Drawing functions stay unresolved: they must be bound lazily.
    check = (
        "import os, sys; sys.setdlopenflags(os.RTLD_LAZY); "
        "from pufferlib.ocean.cartpole.cartpole import Cartpole; Cartpole(num_envs=2).reset(0)"
    )
    return subprocess.run([sys.executable, "-c", check], cwd=sys.prefix, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
