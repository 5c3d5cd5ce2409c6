"""Environments written in Python, in processes, threads or one after another, behind the interface of the native ones.

Nothing here is imported before an environment is wrapped: it needs Gymnasium.
"""

from __future__ import annotations
