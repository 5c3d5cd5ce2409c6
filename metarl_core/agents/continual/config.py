"""Hyper-parameters of continual learning: those that all methods share, then those of single methods."""

from __future__ import annotations

import dataclasses

from metarl_core.agents.common.config import AgentConfig
from metarl_core.agents.common.options import ConfigError, option, validate
from metarl_core.agents.imt.aggregation import AGGREGATIONS
from metarl_core.agents.imt.averaging import WEIGHTINGS
from metarl_core.agents.imt.mixture import ROUTINGS

__all__ = ["COMMON_OPTIONS", "ContinualConfig"]

# Where these differ, results no longer compare: what is measured, what is stored, and what the task is.
COMMON_OPTIONS = (
    "evaluations",
    "evaluation_episodes",
    "reference_steps",
    "memory",
    "gamma",
    "action_levels",
    "normalize_obs",
)

_HEADS = ("single", "multi")


@dataclasses.dataclass(frozen=True)
class ContinualConfig(AgentConfig):
    """Options of a method in a sequence of tasks. What is called EWC's, PackNet's and so on is of no use to others."""

    gamma: float = option(0.99, "discount per environment step", minimum=0.0, maximum=1.0)
    hidden: tuple[int, ...] = option((64, 64), "widths of the hidden layers of Q", minimum=1)
    action_levels: int = option(
        3,
        "of continuous actions: values of each component, evenly between the bounds; every combination is an action",
        minimum=2,
        maximum=101,
    )
    num_envs: int = option(8, "instances of the task in training", minimum=1)
    batch_size: int = option(64, "transitions in one gradient step", minimum=1)
    learning_starts: int = option(256, "environment steps of a phase before its first gradient step", minimum=1)
    train_every: int = option(8, "environment steps between two gradient steps", minimum=1)
    replay_capacity: int = option(50_000, "transitions kept of the task in training, dropped with it", minimum=1)
    lr: float = option(1e-3, "learning rate of Adam, whose moments begin anew with every phase", above=0.0)
    target_period: int = option(100, "gradient steps between two copies for the TD target", minimum=1)
    epsilon_start: float = option(1.0, "share of uniform actions at the start of a phase", minimum=0.0, maximum=1.0)
    epsilon_end: float = option(0.05, "share of uniform actions after exploration_share", minimum=0.0, maximum=1.0)
    exploration_share: float = option(0.4, "share of a phase over which epsilon falls", above=0.0, maximum=1.0)

    evaluations: int = option(5, "evaluations of all tasks in a phase, the last at its end", minimum=1)
    evaluation_episodes: int = option(20, "greedy episodes of each task in an evaluation", minimum=1)

    memory: int = option(4096, "M, transitions that a method with a memory keeps of each task", minimum=1)
    reference_steps: int = option(
        2048,
        "steps of a phase that methods with task embeddings play by uniform actions, and steps on a new task",
        minimum=64,
    )
    heads: str = option(
        "multi",
        "l2, ewc, agem, clear: one last layer, or one for each task, which needs to be told the task",
        choices=_HEADS,
    )

    l2_weight: float = option(1.0, "L2: weight of the pull to the weights at the end of the last phase", minimum=0.0)
    ewc_weight: float = option(100.0, "EWC: lambda, weight of the penalty", minimum=0.0)
    fisher_samples: int = option(1024, "EWC: states that the Fisher information is estimated from", minimum=1)
    packnet_updates: int = option(1000, "PackNet: gradient steps after pruning", minimum=0)
    clear_policy_weight: float = option(0.1, "CLEAR: weight of policy cloning", minimum=0.0)
    clear_value_weight: float = option(0.01, "CLEAR: weight of value cloning", minimum=0.0)
    clear_temperature: float = option(1.0, "CLEAR: temperature of the policies softmax(Q / temperature)", above=0.0)

    rounds: int = option(4, "imt, fedavg: rounds after every phase", minimum=1)
    local_updates: int = option(250, "imt, fedavg: gradient steps of a network in a round", minimum=1)
    reptile_iterations: int = option(100, "Reptile: outer steps after every phase", minimum=1)
    inner_steps: int = option(32, "Reptile: gradient steps on a task, in training and at test", minimum=1)
    inner_lr: float = option(1e-3, "Reptile: learning rate of the inner steps (Adam without momentum)", above=0.0)
    outer_step: float = option(0.25, "Reptile: epsilon, share of the way to the mean", above=0.0, maximum=1.0)

    embedding_features: int = option(64, "random features of the task embeddings", minimum=1)
    held_out: float = option(
        0.25,
        "router: share of the reference episodes that no embedding is fitted to; of imt, the weights of step 3 see no "
        "others",
        above=0.0,
        maximum=0.9,
    )
    routing: str = option(
        "leave_one_out",
        "router: weights with which the known tasks together are nearest to a new one, none negative (mixture) or of "
        "either sign (affine); or the one of the two, and the pull, by which known tasks are best met without their "
        "own network (leave_one_out). A phase of imt starts from a mixture in any case",
        choices=ROUTINGS,
    )
    mixture_ridge: float = option(
        1e-3, "pull towards equal weights of routing=mixture and affine, and with fewer than four tasks", minimum=0.0
    )
    independent_aggregation: str = option(
        "weighted", "independent: how its networks act together on a new task", choices=AGGREGATIONS
    )
    imt_aggregation: str = option("soup", "imt: how its submodels act together on a new task", choices=AGGREGATIONS)
    imt_td_tasks: str = option(
        "own",
        "imt: whose transitions a trunk's TD error is of in step 2: its own task's, all tasks', or all but its own "
        "(leave-one-task-out)",
        choices=("others", "all", "own"),
    )
    imt_start: str = option(
        "common",
        "imt: where trunks start in a round: at the common trunk, or where they are, held near it by mu",
        choices=("common", "own"),
    )
    imt_clone: float = option(
        0.0,
        "imt: weight, beside the TD error of a round, of the squared difference to the values before the round",
        minimum=0.0,
    )
    pretrain_updates: int = option(
        0, "imt: gradient steps of step 1, in the first phase (0: the trunk's fixed start)", minimum=0
    )
    head_updates: int = option(250, "imt: gradient steps of the last layers in a round", minimum=0)
    predictor_hidden: tuple[int, ...] = option((64,), "imt: hidden widths of the embedding predictors", minimum=1)
    lambda_rl: float = option(1.0, "imt: weight of the TD error in step 2", minimum=0.0)
    mu: float = option(1e-3, "imt: weight of the pull towards the common trunk in step 2", minimum=0.0)
    eta: float = option(0.5, "imt: step of the common trunk towards the average", above=0.0, maximum=1.0)
    weighting: str = option("similarity_accuracy", "imt: weights of step 3, or a control", choices=WEIGHTINGS)
    temperature: float = option(0.2, "imt: T of exp(sim / T) in step 3", above=0.0)
    accuracy_eps: float = option(0.01, "imt: added to acc_i in step 3", minimum=0.0)

    rl2_length: int = option(64, "RL^2: steps that a gradient goes back through", minimum=2)
    rl2_hidden: int = option(64, "RL^2: units of the GRU", minimum=1)
    rl2_trial: int = option(2, "RL^2: episodes of a trial, through which the state of the GRU goes on", minimum=1)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: names the field.
        """
        validate(self)
        if self.context != "none":
            raise ConfigError(
                f"context={self.context!r}: whether a method is told the task is its own matter; set none"
            )
        if self.memory <= self.reference_steps:
            raise ConfigError(
                f"memory={self.memory}: must be more than reference_steps={self.reference_steps}, which are part of it"
            )
