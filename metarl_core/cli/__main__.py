"""``python -m metarl_core.cli``: the command without its script."""

from __future__ import annotations

import sys

from metarl_core.cli.main import main

sys.exit(main())
