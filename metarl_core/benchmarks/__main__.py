"""``python -m metarl_core.benchmarks``: the same as ``metarl bench``."""

from __future__ import annotations

import sys

from metarl_core.benchmarks.main import main

if __name__ == "__main__":
    sys.exit(main())
