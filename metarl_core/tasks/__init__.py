"""Tasks: which parameters an environment may have, which are for training, and in what order tasks come."""

from metarl_core.tasks.datasets import TaskDataset
from metarl_core.tasks.distributions import GridTasks, SeedTasks, TaskDistribution, UniformTasks
from metarl_core.tasks.families import family_env_id, family_name, task_families, task_family
from metarl_core.tasks.mdp_tables import mdp_tables
from metarl_core.tasks.meta_task import LeaveOneOut, MetaTask, Mixture, TaskSplits
from metarl_core.tasks.structure import Flat, Phase, Tree
from metarl_core.tasks.task import Task
from metarl_core.tasks.tree_run import TreeEpisodes, TreeRun
from metarl_core.vector.frozen_lake_map import frozen_lake_map

__all__ = [
    "Flat",
    "GridTasks",
    "LeaveOneOut",
    "MetaTask",
    "Mixture",
    "Phase",
    "SeedTasks",
    "Task",
    "TaskDataset",
    "TaskDistribution",
    "TaskSplits",
    "Tree",
    "TreeEpisodes",
    "TreeRun",
    "UniformTasks",
    "family_env_id",
    "family_name",
    "frozen_lake_map",
    "mdp_tables",
    "task_families",
    "task_family",
]
