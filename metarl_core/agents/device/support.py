"""Whether a run can have its environments and its replay on a GPU."""

from __future__ import annotations

import metarl_core
from metarl_core._cuda_module import cuda_devices
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.config import RunConfig
from metarl_core.agents.device.actors import ACTORS
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.vector.library import why_no_kernels

__all__ = ["why_on_host"]


def why_on_host(config: RunConfig) -> str | None:
    """Why environments and replay of a run must stay in host memory; None: they need not.

    Args:
        config: the run, whose networks are on a GPU.
    """
    spec = ALGORITHMS[config.algorithm]
    native = config.env_id.removeprefix("metarl_core/")
    if native not in metarl_core.list_envs():
        return f"{config.env_id} is not a native environment"
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
    devices, problem = cuda_devices()
    return why_no_kernels(native, config.env_params.get("precision", "float64")) if devices else problem
