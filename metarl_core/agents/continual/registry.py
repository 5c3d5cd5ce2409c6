"""Every method by its name."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from types import MappingProxyType

from metarl_core._names import unknown_name
from metarl_core.agents.continual.learner import ContinualLearner
from metarl_core.errors import ConfigError

__all__ = ["METHODS", "MethodSpec", "method_class"]


@dataclasses.dataclass(frozen=True)
class MethodSpec:
    """A method.

    Attributes:
        module: Of the package ``methods``.
        class_name: In it.
        description: One line.
    """

    module: str
    class_name: str
    description: str


METHODS: Mapping[str, MethodSpec] = MappingProxyType(
    {
        "finetune": MethodSpec("finetune", "FineTuning", "one network goes on learning, not told of tasks"),
        "multihead": MethodSpec("multihead", "MultiHead", "one trunk goes on learning, a last layer for each task"),
        "scratch": MethodSpec("scratch", "Scratch", "a network for each task, the reference of forward transfer"),
        "joint": MethodSpec("joint", "Joint", "all tasks at once, a bound and no continual learner"),
        "independent": MethodSpec("independent", "Independent", "a network for each task and IMT's router over them"),
        "imt": MethodSpec("imt", "Imt", "independent multi-task learning: submodels beside a common trunk"),
        "l2": MethodSpec("l2", "L2", "fine-tuning pulled to the weights of the last phase's end"),
        "ewc": MethodSpec("ewc", "Ewc", "elastic weight consolidation (Kirkpatrick et al. 2017)"),
        "packnet": MethodSpec("packnet", "PackNet", "prune, retrain, freeze (Mallya & Lazebnik 2018)"),
        "clear": MethodSpec("clear", "Clear", "replay with behaviour cloning (Rolnick et al. 2019)"),
        "agem": MethodSpec("agem", "AGem", "gradients projected by a memory's (Chaudhry et al. 2019)"),
        "fedavg": MethodSpec("fedavg", "FedAvg", "uniform averages of per-task networks (McMahan et al. 2017)"),
        "reptile": MethodSpec("reptile", "Reptile", "meta-learned start, adapted at test (Nichol et al. 2018)"),
        "rl2": MethodSpec("rl2", "RL2", "recurrent Q over episodes (Duan et al. 2016), on all tasks at once"),
    }
)


def method_class(name: str) -> type[ContinualLearner]:
    """The class of a method.

    Raises:
        ConfigError: there is no such method; the message lists them.
    """
    if name not in METHODS:
        raise ConfigError(unknown_name("method", name, list(METHODS)))
    spec = METHODS[name]
    module = importlib.import_module(f"metarl_core.agents.continual.methods.{spec.module}")
    found: type[ContinualLearner] = getattr(module, spec.class_name)
    return found
