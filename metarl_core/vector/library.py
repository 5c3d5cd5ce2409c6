"""Environments of one's own, from a shared library that was built against this package's headers."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metarl_core import _core, _cuda_module
from metarl_core.errors import EnvLibraryError
from metarl_core.vector.builders import BuildPlan, _numbers, add_builder
from metarl_core.vector.registration import register_envs
from metarl_core.vector.specs import _PRECISION, EnvSpec, ParameterSpec, _table, add_specs, list_envs

__all__ = ["library_kernels", "load_env_library", "why_no_kernels"]

# What make_vec itself takes, and what every environment has.
_RESERVED = frozenset(
    {"id", "num_envs", "num_threads", "autoreset_mode", "seed", "dense_final_obs", "render_mode", "vectorization_mode"}
    | {"precision", "max_episode_steps", "float32"}
)
# (device, inode, time of change) -> ids: loading a library again does nothing.
_LOADED: dict[tuple[int, int, int], list[str]] = {}
# id -> the file that was loaded, without links, as the dynamic linker knows it.
_FILES: dict[str, str] = {}


def library_kernels(env_id: str, precision: str) -> dict[str, Any]:
    """Tell where a GPU's module finds the kernels of an environment that :func:`load_env_library` brought.

    Args:
        env_id: The id.
        precision: ``"float32"`` or ``"float64"``.

    Returns:
        ``library`` and ``kernels``, as the module takes them; empty for an environment of the package.
    """
    if env_id not in _FILES:
        return {}
    return {"library": os.fsencode(_FILES[env_id]), "kernels": f"{env_id}/{precision}"}


def why_no_kernels(env_id: str, precision: str) -> str | None:
    """Say why an environment, in a precision, cannot live on a GPU that is there; None: it can.

    Raises:
        RuntimeError: There is no GPU.
    """
    where = library_kernels(env_id, precision)
    if where:
        try:
            _cuda_module.cuda_module("cuda").find_library_kernels(**where)
        except ValueError as error:
            return str(error)
    return None


def _spec(found: Mapping[str, Any]) -> EnvSpec:
    def bound(value: float) -> float | None:
        return value if np.isfinite(value) else None

    parameters = [
        ParameterSpec(p["name"], p["default"], p["doc"], "float", bound(p["low"]), bound(p["high"]), p["exclusive"])
        for p in found["parameters"]
    ]
    texts = {name: found[name] for name in ("id", "source", "observation", "action", "reward", "ending")}
    state = found["state"] or ", ".join(found["field_names"])
    limit = found["max_episode_steps"] or None
    return EnvSpec(state=state, parameters=_table(limit, *parameters, _PRECISION), **texts)


class _Builder:
    """From checked parameters to a plan."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._low = np.array(found["obs_low"], np.float32)
        self._high = np.array(found["obs_high"], np.float32)
        self._num_actions = int(found["num_actions"])
        self._action_low, self._action_high = float(found["action_low"]), float(found["action_high"])
        self._row_bytes = 64 + 8 * (len(found["field_names"]) + len(found["parameters"]))

    def __call__(self, params: Mapping[str, Any]) -> BuildPlan:
        return BuildPlan(
            _numbers(params),
            self._low.shape,
            self._low,
            self._high,
            num_actions=self._num_actions,
            action_low=self._action_low,
            action_high=self._action_high,
            row_bytes=self._row_bytes,
        )


def load_env_library(path: str | os.PathLike[str]) -> list[str]:
    """Make the environments of a shared library known to ``make_vec``, ``list_envs``, ``env_spec`` and Gymnasium.

    ``docs/custom-environments.md`` shows how to write and build one. Loading runs the library's code: load what you
    trust. It stays in memory until the process ends; to load a changed one, start a new process. Loading the same file
    a second time does nothing. Kernels for GPUs, if it has them, are looked for by ``make_vec(..., device="cuda")``;
    until then no driver is started.

    Args:
        path: The library.

    Returns:
        Its ids.

    Raises:
        TypeError: ``path`` is no path.
        FileNotFoundError: There is no such file.
        EnvLibraryError: It is no library of environments, was built for another version of the interface, or describes
            an environment that cannot be (the message says which and why); or an id is taken. Nothing is changed then.
    """
    file = Path(os.fsdecode(os.fspath(path)))
    if not file.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
    status = file.stat()
    key = (status.st_dev, status.st_ino, status.st_mtime_ns)
    if key in _LOADED:
        return list(_LOADED[key])
    name = os.fsencode(file)
    try:
        found = _core.read_env_library(name)
    except ValueError as error:
        raise EnvLibraryError(str(error)) from None
    known = list_envs()
    for environment in found:
        if environment["id"] in known:
            raise EnvLibraryError(
                f"{file}: there is an environment {environment['id']!r} already; choose another id, or start a new "
                "process to load a changed library"
            )
        for parameter in environment["parameters"]:
            if parameter["name"] in _RESERVED:
                raise EnvLibraryError(
                    f"{file}: {environment['id']}: a parameter cannot be called {parameter['name']!r}, which make_vec "
                    "or every environment has"
                )
    specs = [_spec(environment) for environment in found]
    real = os.path.realpath(file)
    _core.add_env_library(os.fsencode(real))
    for environment in found:
        add_builder(environment["id"], _Builder(environment))
    add_specs(specs)
    _LOADED[key] = [spec.id for spec in specs]
    _FILES.update(dict.fromkeys(_LOADED[key], real))
    if "metarl_core.vector.gym_env" in sys.modules:  # Gymnasium has heard of the others already
        register_envs()
    return list(_LOADED[key])
