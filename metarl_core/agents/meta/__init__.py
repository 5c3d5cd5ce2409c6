"""Meta-learning on top of trained agents: routing, transfer, batch and online learning, averaging rounds, cloning."""

from __future__ import annotations

from metarl_core.agents.meta.agent import MetaAgent
from metarl_core.agents.meta.cloning import ClonedPolicy, CloningConfig, demonstrate
from metarl_core.agents.meta.collaborative import Collaborative, CollaborativeRound, WeightedAverage
from metarl_core.agents.meta.q_learner import LearningCurve, QLearner
from metarl_core.agents.meta.routers import (
    ROUTERS,
    Adaptation,
    BestSingleRouter,
    EmbeddingRouter,
    ReturnRouter,
    Router,
    UniformRouter,
)
from metarl_core.agents.meta.sub_agents import SubAgent
from metarl_core.agents.meta.transfer import TransferReport, transfer

__all__ = [
    "ROUTERS",
    "Adaptation",
    "BestSingleRouter",
    "ClonedPolicy",
    "CloningConfig",
    "Collaborative",
    "CollaborativeRound",
    "EmbeddingRouter",
    "LearningCurve",
    "MetaAgent",
    "QLearner",
    "ReturnRouter",
    "Router",
    "SubAgent",
    "TransferReport",
    "UniformRouter",
    "WeightedAverage",
    "demonstrate",
    "transfer",
]
