"""Hyper-parameters of IMT (independent multi-task learning)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from metarl_core.agents.common.options import ConfigError, apply_overrides, option, preset_values, validate
from metarl_core.agents.imt.aggregation import AGGREGATIONS
from metarl_core.agents.imt.averaging import WEIGHTINGS
from metarl_core.agents.imt.curiosity_config import CuriosityOptions
from metarl_core.agents.imt.mixture import ROUTINGS

__all__ = ["PRESETS", "ImtConfig"]

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "corrected": {},
        # The article to the letter: the embedding loss alone, targets from the common layer itself, a full step to the
        # average. Its last layers are tuned on the validation task, which is the test task: what comes out is
        # transductive, and labelled so.
        "as_written": {
            "lambda_rl": 0.0,
            "mu": 0.0,
            "eta": 1.0,
            "embedding": "common",
            "whiten": False,
            "tune_on": "test",
            "target_update": "hard",
            "keep": "last",
            "scale_rewards": False,
            "routing": "similarity",
            "aggregation": "weighted",
        },
    }
)


@dataclasses.dataclass(frozen=True)
class ImtConfig(CuriosityOptions):
    """Every switch of IMT; each can be set alone. The defaults are the preset ``corrected``."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    preset: str = option("corrected", "as_written: the article to the letter; corrected", choices=tuple(PRESETS))
    gamma: float = option(0.95, "discount per environment step", minimum=0.0, maximum=1.0)
    hidden: tuple[int, ...] = option((64, 64), "widths of the trunk; the last is the number of features", minimum=1)
    predictor_hidden: tuple[int, ...] = option((64,), "hidden widths of the embedding predictors", minimum=1)
    action_levels: int = option(
        3,
        "of continuous actions: values of each component, evenly between the bounds; every combination is an action",
        minimum=2,
        maximum=101,
    )

    image_encoding: str = option(
        "auto",
        "images (H, W, C of bool or uint8) go through convolutions as: symbols: one-hot planes (MiniGrid); "
        "bytes: divided by 255; auto: symbols for MiniGrid, else bytes; flat: as a vector, without convolutions",
        choices=("auto", "symbols", "bytes", "flat"),
    )
    conv_filters: tuple[int, ...] = option((16,), "filters of the convolutions below the trunk's layers", minimum=1)
    conv_kernel: int = option(3, "width and height of the convolutions", minimum=1)

    reference_steps: int = option(4096, "transitions of each task under the reference policy", minimum=64)
    held_out: float = option(0.25, "share of them, by episodes, that nothing but step 3 sees", above=0.0, maximum=0.9)
    embedding: str = option(
        "random_features",
        "task embeddings: frozen random features of transitions, centred; common: features of the common trunk itself",
        choices=("random_features", "common"),
    )
    whiten: bool = option(True, "shrink directions of the embedding in which one task's own data differ")
    embedding_features: int = option(64, "random features of the task embedding", minimum=1)

    pretrain_updates: int = option(200, "step 1: gradient steps of the common trunk (0: its fixed start)", minimum=0)
    rounds: int = option(15, "rounds of steps 2 and 3 at most", minimum=1)
    steps_per_round: int = option(1000, "environment steps of every task in a round", minimum=1)
    submodel_updates: int = option(500, "step 2: gradient steps in a round", minimum=1)
    head_updates: int = option(500, "alternation A: gradient steps of the last layers in a round", minimum=0)
    tune_on: str = option(
        "train",
        "alternation A: each last layer on its own task's training transitions; test: on the held-out task, as the "
        "article has it (transductive)",
        choices=("train", "test"),
    )
    batch_size: int = option(64, "transitions of one gradient step of one submodel", minimum=1)
    replay_capacity: int = option(100_000, "transitions kept, of all tasks together", minimum=1)
    envs_per_task: int = option(4, "instances of every task", minimum=1)
    epsilon_start: float = option(
        1.0, "share of uniform actions in the first round; none with curiosity", minimum=0.0, maximum=1.0
    )
    epsilon_end: float = option(
        0.1, "share of uniform actions in the last round; none with curiosity", minimum=0.0, maximum=1.0
    )
    scale_rewards: bool = option(
        True, "learn Q of rewards divided by their standard deviation over all tasks' reference transitions"
    )
    lr: float = option(1e-3, "learning rate of Adam", above=0.0)
    target_update: str = option(
        "polyak",
        "slow copies that close the TD target: made every target_period gradient steps; polyak: running averages, "
        "which the last layers are replaced by once they are tuned",
        choices=("hard", "polyak"),
    )
    target_period: int = option(100, "target_update=hard: gradient steps between two copies", minimum=1)
    target_polyak: float = option(
        0.01, "target_update=polyak: share of the online weights mixed in per gradient step", above=0.0, maximum=1.0
    )
    sharing: str = option(
        "average",
        "average: the four steps; none: control, each network learns by TD on its own task alone, in as many gradient "
        "steps, and no trunk is averaged",
        choices=("average", "none"),
    )
    lambda_rl: float = option(1.0, "weight of the TD error in step 2", minimum=0.0)
    start: str = option(
        "common",
        "where a trunk starts every round after the first: at the common trunk, or where it is, with mu alone to hold "
        "it near",
        choices=("common", "own"),
    )
    td_tasks: str = option(
        "own",
        "whose transitions the TD error of step 2 is of: the submodel's own task's, or those of all tasks but its own",
        choices=("own", "others"),
    )
    mu: float = option(1e-3, "weight of the pull towards the common trunk in step 2", minimum=0.0)

    weighting: str = option("similarity_accuracy", "weights of step 3, or a control", choices=WEIGHTINGS)
    accuracy: str = option(
        "embedding",
        "acc_i (step 3, and routing=similarity): of the embedding predictor, or the return of the last training "
        "episodes, epsilon included, between the reference policy's and the best episode",
        choices=("embedding", "return"),
    )
    temperature: float = option(0.2, "T of exp(sim / T), in step 3 and at test time", above=0.0)
    accuracy_eps: float = option(0.01, "added to acc_i, so that no submodel vanishes", minimum=0.0)
    eta: float = option(0.5, "step of the common trunk towards the average (1: the article's)", above=0.0, maximum=1.0)
    tolerance: float = option(1e-3, "step 4: stop below this relative change of the common trunk (0: never)", minimum=0)
    patience: int = option(10, "step 4: rounds without a better validation return before stopping", minimum=1)
    keep: str = option(
        "best",
        "what is left in the end: the submodels of the round with the best validation return, or the last ones",
        choices=("best", "last"),
    )
    routing: str = option(
        "leave_one_out",
        "weights of the submodels on a new task: exp(cos / T) acc; those with which the known tasks together are "
        "nearest, none negative (mixture) or of either sign (affine); or the one of these two, and the pull, by which "
        "known tasks are best met without their own submodel (leave_one_out)",
        choices=("similarity", *ROUTINGS),
    )
    mixture_ridge: float = option(
        1e-3, "pull towards equal weights of routing=mixture and affine, and with fewer than four tasks", minimum=0.0
    )
    aggregation: str = option("soup", "how submodels act together on a new task", choices=AGGREGATIONS)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: names the field.
        """
        validate(self)
        if self.routing in ROUTINGS and self.embedding != "random_features":
            raise ConfigError(
                f"routing={self.routing!r}: needs embedding='random_features' (vectors of the common trunk move with "
                "it)"
            )
        if self.sharing == "none" and self.tune_on == "test":
            raise ConfigError("sharing='none': needs tune_on='train', as each network learns on its own task")
        self.check_exploration()
        if self.exploration == "curiosity" and (self.td_tasks, self.tune_on) != ("own", "train"):
            raise ConfigError(
                f"exploration='curiosity': needs td_tasks='own' and tune_on='train' (here {self.td_tasks!r} and "
                f"{self.tune_on!r}), as a submodel is curious about its own task"
            )
        if self.context != "none":
            raise ConfigError(f"context={self.context!r}: IMT tells tasks apart by their embedding; set context=none")

    @classmethod
    def from_preset(cls, preset: str, **switches: Any) -> ImtConfig:
        """Make the configuration of a preset with some switches set by hand.

        Raises:
            ConfigError: no such preset or field, or a bad value.
        """
        return apply_overrides(cls(), {**preset_values(cls, {"preset": preset}), **switches})
