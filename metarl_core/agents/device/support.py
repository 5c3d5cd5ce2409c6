"""Whether a run can have its environments and its replay on a GPU."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import metarl_core
from metarl_core._cuda_module import cuda_devices
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.config import RunConfig
from metarl_core.agents.device.actors import ACTORS
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.vector.library import why_no_kernels

__all__ = ["place_core", "why_env_on_host", "why_on_host"]

_log = logging.getLogger(__name__)


def place_core(device: str, reason: str | None) -> str:
    """Where environments and replay go, ``device`` or "cpu"; said where they stay behind the networks.

    Args:
        device: of the networks.
        reason: why they must stay in host memory, if they must.
    """
    if device == "cpu" or reason is None:
        return device
    _log.warning("device %s: environments and replay stay in host memory: %s", device, reason)
    return "cpu"


def why_env_on_host(env_id: str, params: Mapping[str, Any]) -> str | None:
    """Why an environment must stay in host memory; None: it need not.

    Args:
        env_id: its id.
        params: parameters of ``make_vec``.
    """
    return _why_not_native(env_id) or _why_not_on_gpu(env_id, params)


def _why_not_native(env_id: str) -> str | None:
    native = env_id.removeprefix("metarl_core/")
    return None if native in metarl_core.list_envs() else f"{env_id} is not a native environment"


# After the rest: whether a library has kernels shows where there is a GPU.
def _why_not_on_gpu(env_id: str, params: Mapping[str, Any]) -> str | None:
    devices, problem = cuda_devices()
    if not devices:
        return problem
    return why_no_kernels(env_id.removeprefix("metarl_core/"), params.get("precision", "float64"))


def why_on_host(config: RunConfig) -> str | None:
    """Why environments and replay of a run must stay in host memory; None: they need not.

    Args:
        config: the run of an agent of one environment, whose networks are on a GPU.
    """
    env_id, params = config.env_id, config.env_params
    return _why_not_native(env_id) or _why_agent_on_host(config) or _why_not_on_gpu(env_id, params)


def _why_agent_on_host(config: RunConfig) -> str | None:
    spec = ALGORITHMS[config.algorithm]
    if spec.discrete is None or spec.discrete.make_agent not in ACTORS:
        return f"{config.algorithm} does not act on a GPU"
    hyper = config.hyperparameters
    if type(hyper) is not spec.discrete.config_class:
        return f"{config.algorithm} does not act on a GPU with continuous actions"
    unsupported = [("n_step", getattr(hyper, "n_step", 1), 1), ("context", hyper.context, "none")]
    if isinstance(hyper, CderConfig):
        unsupported += [
            ("imagined", hyper.imagined, False),
            ("normalize_bonus", hyper.normalize_bonus, False),
        ]
        if hyper.behaviour == "distilled":
            return "behaviour=distilled draws its actions on the CPU"
    for name, value, needed in unsupported:
        if value != needed:
            return f"{name}={value!r}; on a GPU only {name}={needed!r} is there"
    return None
