"""Independent multi-task learning (IMT): a common trunk, a submodel for each task, and what they do on a new one."""

from __future__ import annotations

from metarl_core.agents.imt.aggregation import AGGREGATIONS
from metarl_core.agents.imt.averaging import WEIGHTINGS, RoundWeights
from metarl_core.agents.imt.config import ImtConfig
from metarl_core.agents.imt.embedding import TaskEmbedding
from metarl_core.agents.imt.learner import ImtLearner
from metarl_core.agents.imt.networks import Submodels
from metarl_core.agents.imt.outcomes import Adapted, Round
from metarl_core.agents.imt.reliability import Reliability
from metarl_core.agents.imt.stopping import StoppingRule

__all__ = [
    "AGGREGATIONS",
    "WEIGHTINGS",
    "Adapted",
    "ImtConfig",
    "ImtLearner",
    "Reliability",
    "Round",
    "RoundWeights",
    "StoppingRule",
    "Submodels",
    "TaskEmbedding",
]
