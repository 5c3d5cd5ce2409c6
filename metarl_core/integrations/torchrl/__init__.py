"""Prioritized sampling and vector environments for TorchRL; see docs/torchrl.md."""

from __future__ import annotations

from metarl_core.integrations.required import required

with required("TorchRL", "torchrl"):
    from metarl_core.integrations.torchrl.env import MetaRLEnv, make_env
    from metarl_core.integrations.torchrl.sampler import MetaRLPrioritizedSampler

__all__ = ["MetaRLEnv", "MetaRLPrioritizedSampler", "make_env"]
