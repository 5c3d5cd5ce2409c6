"""Whether a run can have its environments and its replay on a GPU."""

from __future__ import annotations

import logging

import metarl_core
from metarl_core._cuda_module import cuda_devices
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.config import RunConfig
from metarl_core.agents.device.actors import ACTORS
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.vector.library import is_from_library

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


def why_env_on_host(env_id: str) -> str | None:
    """Why an environment must stay in host memory; None: it need not."""
    return _why_no_kernels(env_id) or _why_no_gpu()


def _why_no_kernels(env_id: str) -> str | None:
    native = env_id.removeprefix("metarl_core/")
    if native not in metarl_core.list_envs():
        return f"{env_id} is not a native environment"
    if is_from_library(native):
        return f"{env_id} is an environment of a library, which has no kernels for GPUs"
    return None


def _why_no_gpu() -> str | None:
    devices, problem = cuda_devices()
    return None if devices else problem


def why_on_host(config: RunConfig) -> str | None:
    """Why environments and replay of a run must stay in host memory; None: they need not.

    Args:
        config: the run of an agent of one environment, whose networks are on a GPU.
    """
    return _why_no_kernels(config.env_id) or _why_agent_on_host(config) or _why_no_gpu()


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
