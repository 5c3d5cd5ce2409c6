"""Sub-agents: what a meta-agent is made of, each with a task of its own, behind one interface."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl_core.agents.common.config import AgentConfig, LearnerConfig
from metarl_core.agents.common.options import ConfigError, apply_overrides, unknown
from metarl_core.agents.common.restoring import restoring
from metarl_core.agents.config import RunConfig, stored_config
from metarl_core.agents.meta.playing import TaskSpaces, opened, record
from metarl_core.agents.parts import make_encoder
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.runs import RunReader
from metarl_core.tasks import Task

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["SubAgent", "task_of_run"]

_WITHOUT_Q = ("dltv",)  # its critic holds quantiles


class SubAgent:
    """A value learner of this library with the task that it is for.

    Args:
        task: its task, of a native environment.
        algorithm: name in ``ALGORITHMS``, but those with a training loop of their own (SAC, TD3).
        config: its options; None: the defaults. Those for discrete actions on an environment with continuous ones: the
            agent chooses from a table of ``levels`` values of each component, as IMT's submodels do.
        name: None: the task's.
        seed: of everything random.
        levels: see ``config``, >= 2.
        num_envs: instances that it acts for while it learns.
        accuracy: acc_i of IMT, in [0, 1]: how far routing by similarity may rely on it.
        device: where its networks live.

    Attributes:
        spaces: of the task.
        agent: the library's agent.
        encoder: from observations to what its networks take.

    Raises:
        ConfigError: the algorithm or its options do not fit the environment.
    """

    def __init__(
        self,
        task: Task,
        algorithm: str = "ddqn",
        config: AgentConfig | None = None,
        *,
        name: str | None = None,
        seed: int = 0,
        levels: int = 3,
        num_envs: int = 4,
        accuracy: float = 1.0,
        device: str = "cpu",
    ) -> None:
        usable = [key for key, spec in ALGORITHMS.items() if spec.train is None]
        if algorithm not in usable:
            raise ConfigError(unknown(algorithm, usable, "algorithm of a sub-agent"))
        if not 0 <= accuracy <= 1:
            raise ConfigError(f"accuracy is {accuracy}; must be in [0, 1]")
        spec = ALGORITHMS[algorithm]
        self.task, self.algorithm, self.name = task, algorithm, task.name if name is None else name
        self.seed, self.levels, self.num_envs = seed, levels, num_envs
        self.accuracy, self.device = float(accuracy), device
        self.spaces = TaskSpaces.of(task, levels)
        self.config = config if config is not None else (spec.discrete or spec.variants[0]).config_class()
        variant = next((v for v in spec.variants if type(self.config) is v.config_class), None)
        if variant is None:
            names = " or ".join(v.config_class.__name__ for v in spec.variants)
            raise ConfigError(f"config is a {type(self.config).__name__}; {algorithm} needs a {names}")
        if self.config.context != "none":
            raise ConfigError(f"context={self.config.context!r}: a sub-agent has one task; set context=none")
        self.valued = variant is spec.discrete
        if not self.valued and self.spaces.table is None:
            raise ConfigError(
                f"{task.env_id} has discrete actions; {type(self.config).__name__} is for continuous ones"
            )
        assert isinstance(self.config, LearnerConfig)
        torch.set_num_threads(self.config.torch_threads)
        run = RunConfig(algorithm=algorithm, env_id=task.env_id, seed=seed, device=device, hyperparameters=self.config)
        self.encoder = make_encoder(run, self.spaces.observation_space)
        actions = self.spaces.num_actions if self.valued else self.spaces.actions
        self.agent = variant.make_agent(
            self.config, self.encoder.features, actions, num_envs, seed, device, self.encoder.one_hot
        )
        self.valued = self.valued and algorithm not in _WITHOUT_Q

    @classmethod
    def from_run(cls, run_dir: str | os.PathLike[str], *, device: str = "cpu") -> SubAgent:
        """Load the agent in a run's last checkpoint; its task is the run's environment with its parameters.

        Raises:
            RunError: the folder is no run.
            FileNotFoundError: the run has no checkpoint.
            CheckpointMismatchError: the checkpoint holds something else.
            ConfigError: the run has no task of its own, or its algorithm cannot be a sub-agent.
        """
        reader = RunReader(run_dir)
        config = stored_config(reader)
        state = reader.load_checkpoint()
        if state is None:
            raise FileNotFoundError(f"{run_dir} holds no checkpoint")
        made = cls(
            task_of_run(config, str(reader.run_dir)),
            config.algorithm,
            config.hyperparameters,
            seed=config.seed,
            num_envs=config.num_envs,
            device=device,
        )
        with restoring(run_dir):
            made.agent.load_state_dict(state["agent"])
        return made

    def network_input(self, obs: NDArray[Any]) -> Tensor:
        """Encode observations [B, ...] of the environment for the networks, on their device.

        Raises:
            ValueError: another shape, a number out of a Discrete space's range, or NaN or infinity.
            TypeError: numbers that are no integers, of a Discrete space.
        """
        encoded = torch.from_numpy(self.encoder(self.spaces.checked_observations(obs))).to(self.agent.device)
        return encoded.long() if self.encoder.one_hot else encoded

    @torch.no_grad()
    def values(self, obs: NDArray[Any]) -> Tensor:
        """Q(s, .) of observations as the environment gives them.

        Of an ensemble the mean over its heads, or its best head where its ``evaluation`` is ``best``.

        Args:
            obs: [B, ...].

        Returns:
            float32 [B, A].

        Raises:
            ConfigError: this kind of agent has no values for a fixed set of actions.
        """
        if not self.valued:
            raise ConfigError(f"sub-agent {self.name!r} ({self.algorithm}) has actions but no values of a fixed set")
        q: Tensor = self.agent.critic(self.network_input(obs))
        if getattr(self.config, "evaluation", None) == "best":
            return q[self.agent.policy.best_head]
        return q.mean(dim=0)

    def act(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Greedy actions for observations [B, ...], as the environment takes them."""
        chosen: NDArray[Any] = self.agent.greedy(self.network_input(obs))
        return self.spaces.native(chosen) if chosen.dtype.kind == "i" else chosen

    def evaluate(self, task: Any = None, episodes: int = 20, seed: int = 0) -> NDArray[np.float64]:
        """Returns of greedy episodes on a task (None: its own), float64 [episodes]."""
        returns: NDArray[np.float64] = record(
            self.task if task is None else task, self.act, episodes=episodes, seed=seed
        ).returns
        return returns

    def description(self) -> dict[str, Any]:
        """What :meth:`from_description` needs: text, numbers and tuples."""
        return {
            "task": self.task.to_json(),
            "algorithm": self.algorithm,
            "continuous": type(self.config) is not _discrete_class(self.algorithm),
            "hyperparameters": dataclasses.asdict(self.config),
            "name": self.name,
            "seed": self.seed,
            "levels": self.levels,
            "num_envs": self.num_envs,
            "accuracy": self.accuracy,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any], device: str = "cpu") -> Self:
        """Build the sub-agent of :meth:`description`, with initial weights.

        Raises:
            ConfigError: an option does not exist.
        """
        given = dict(description)
        algorithm = str(given["algorithm"])
        if algorithm not in ALGORITHMS:
            raise ConfigError(unknown(algorithm, list(ALGORITHMS), "algorithm"))
        spec = ALGORITHMS[algorithm]
        variant = spec.continuous if given.pop("continuous") else spec.discrete
        assert variant is not None
        config = apply_overrides(variant.config_class(), given.pop("hyperparameters"))
        task = Task.from_json(given.pop("task"))
        return cls._make(task, given.pop("algorithm"), config, device=device, **given)

    @classmethod
    def _make(cls, task: Task, algorithm: str, config: AgentConfig, **options: Any) -> Self:
        return cls(task, algorithm, config, **options)

    def state_dict(self) -> dict[str, Any]:
        """The description and everything that learning changes."""
        return {"description": self.description(), "agent": self.agent.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what learning changed."""
        self.agent.load_state_dict(state["agent"])

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: str = "cpu") -> Self:
        """Build the sub-agent of :meth:`state_dict`, bit for bit."""
        made = cls.from_description(state["description"], device)
        made.load_state_dict(state)
        return made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.algorithm})"


def _discrete_class(algorithm: str) -> type[AgentConfig] | None:
    variant = ALGORITHMS[algorithm].discrete
    return None if variant is None else variant.config_class


def task_of_run(config: RunConfig, name: str) -> Task:
    """The task that a run was trained on: its environment, with the parameters that it was given.

    Raises:
        ConfigError: it was trained on a family of tasks, with rewards that are not the environment's, or on an
            environment that is not native.
    """
    if config.env_tasks:
        raise ConfigError(f"{name}: was trained on {config.env_tasks} tasks (env_tasks); a sub-agent needs one task")
    if config.reward_threshold is not None:
        raise ConfigError(
            f"{name}: was trained with reward_threshold={config.reward_threshold}; the tasks of a meta-agent have the "
            "environment's own rewards"
        )
    whole = Task(name, config.env_id, {}, config.env_params)
    try:
        with opened(whole) as envs:
            settable = set(envs.get_tasks())
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error
    params = {key: value for key, value in config.env_params.items() if key in settable and _is_number(value)}
    rest = {key: value for key, value in config.env_params.items() if key not in params}
    return Task(name, config.env_id, params, rest)


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))


def check_sub_agents(sub_agents: Sequence[SubAgent]) -> None:
    """Refuse sub-agents that cannot act in one place.

    Raises:
        ConfigError: there are none, or their spaces or tables of actions differ; the message says which and how.
        TypeError: one is no sub-agent.
    """
    if not sub_agents:
        raise ConfigError("sub_agents is empty; must hold at least one")
    for i, agent in enumerate(sub_agents):
        if not isinstance(agent, SubAgent):
            raise TypeError(f"sub_agents[{i}] must be a SubAgent, such as a QLearner, got {type(agent).__name__}")
    first = sub_agents[0]
    for other in sub_agents[1:]:
        first.spaces.require_equal(other.spaces, f"sub-agents {first.name!r}", repr(other.name))
        if first.spaces.table is not None and first.levels != other.levels:
            raise ConfigError(
                f"sub-agents {first.name!r} and {other.name!r} choose from {first.levels} and {other.levels} levels of "
                "each component of an action; must be the same"
            )
