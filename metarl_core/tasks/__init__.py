"""Distributions of tasks: which parameters an environment may have, and which of them are for training."""

from metarl_core.tasks.datasets import TaskDataset
from metarl_core.tasks.distributions import GridTasks, SeedTasks, TaskDistribution, UniformTasks
from metarl_core.tasks.families import task_families, task_family
from metarl_core.tasks.mdp_tables import mdp_tables
from metarl_core.vector.frozen_lake_map import frozen_lake_map

__all__ = [
    "GridTasks",
    "SeedTasks",
    "TaskDataset",
    "TaskDistribution",
    "UniformTasks",
    "frozen_lake_map",
    "mdp_tables",
    "task_families",
    "task_family",
]
