"""Independent multi-task learning (IMT): a common trunk, a submodel for each task, and what they do on a new one."""

from __future__ import annotations

from metarl_core.agents.imt.aggregation import AGGREGATIONS, aggregate_actions, routing_weights, weight_soup
from metarl_core.agents.imt.averaging import WEIGHTINGS, RoundWeights, average_trunks, averaging_weights
from metarl_core.agents.imt.batches import TaskBatch, leave_one_out_rows, stack_tasks
from metarl_core.agents.imt.embedding import TaskEmbedding
from metarl_core.agents.imt.networks import Submodels
from metarl_core.agents.imt.reliability import Reliability
from metarl_core.agents.imt.steps import SubmodelLosses, head_td_errors, pretrain_common, submodel_losses
from metarl_core.agents.imt.stopping import StoppingRule

__all__ = [
    "AGGREGATIONS",
    "WEIGHTINGS",
    "Reliability",
    "RoundWeights",
    "StoppingRule",
    "SubmodelLosses",
    "Submodels",
    "TaskBatch",
    "TaskEmbedding",
    "aggregate_actions",
    "average_trunks",
    "averaging_weights",
    "head_td_errors",
    "leave_one_out_rows",
    "pretrain_common",
    "routing_weights",
    "stack_tasks",
    "submodel_losses",
    "weight_soup",
]
