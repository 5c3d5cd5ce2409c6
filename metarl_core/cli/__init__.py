"""The ``metarl`` command. Needs NumPy alone; commands that need an extra say so."""

from __future__ import annotations

from metarl_core.cli.main import main

__all__ = ["main"]
