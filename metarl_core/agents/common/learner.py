"""What every value learner here does around its loss: optimiser step, target copies, checks, bookkeeping."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metarl_core.agents.common.config import LearnerConfig
from metarl_core.agents.common.critic import CriticEnsemble
from metarl_core.agents.common.images import Features

__all__ = ["Agent", "TrainingDivergedError", "diverged", "make_optimizer", "restore_rng", "rng_state"]


class TrainingDivergedError(RuntimeError):
    """The loss or the TD errors stopped being finite."""


def diverged(loss: float, step: int, update: int) -> TrainingDivergedError:
    """The error of a loss that is not finite, at an environment step and a gradient step."""
    return TrainingDivergedError(f"loss is {loss} at environment step {step}, gradient step {update}; try a smaller lr")


def make_optimizer(config: LearnerConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """SGD with momentum (the article's) or Adam over parameter groups that carry their own ``lr``."""
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, eps=config.adam_eps, fused=True)
    return torch.optim.SGD(groups, momentum=config.momentum, fused=True)


def rng_state(rng: np.random.Generator) -> dict[str, Any]:
    """State of a PCG64 generator as text and numbers (its integers have 128 bits)."""
    state = rng.bit_generator.state
    inner = state["state"]
    return {
        "state": str(inner["state"]),
        "inc": str(inner["inc"]),
        "has_uint32": int(state["has_uint32"]),
        "uinteger": int(state["uinteger"]),
    }


def restore_rng(rng: np.random.Generator, saved: Mapping[str, Any]) -> None:
    """Put a generator back where :func:`rng_state` found it."""
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": int(saved["state"]), "inc": int(saved["inc"])},
        "has_uint32": int(saved["has_uint32"]),
        "uinteger": int(saved["uinteger"]),
    }


class Agent(abc.ABC):
    """A value-based agent: acts for a batch of instances, learns from replay batches.

    Args:
        config: the algorithm's options.
        in_features: width of an encoded observation, or what its images are like.
        num_actions: number of actions; of candidate actions, where they are continuous.
        num_envs: instances it acts for.
        seed: seed of everything random in the agent.
        device: where the networks live.
    """

    critic: CriticEnsemble
    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        config: LearnerConfig,
        in_features: Features,
        num_actions: int,
        num_envs: int,
        seed: int,
        device: str,
    ) -> None:
        self.config = config
        self.in_features = in_features
        self.num_actions = num_actions
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.updates = 0
        self._stats: dict[str, float | Tensor] = {}
        self.init_generator = torch.Generator().manual_seed(seed)
        self.policy_rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, 1))))

    @property
    def stats(self) -> dict[str, float]:
        """Figures of the last batch that was learned from with ``collect``; reading them waits for the device."""
        read = {name: value.item() if isinstance(value, Tensor) else value for name, value in self._stats.items()}
        self._stats = {**read}
        return read

    @stats.setter
    def stats(self, values: Mapping[str, float | Tensor]) -> None:
        self._stats = dict(values)

    def unread_stats(self) -> dict[str, float | Tensor]:
        """The figures where they are, float32 [] on the agent's device, without waiting for it."""
        return dict(self._stats)

    @abc.abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """Named networks, for checkpoints."""

    @abc.abstractmethod
    def act(self, obs: Tensor, step: int) -> NDArray[Any]:
        """Behaviour policy: observations float32 [num_envs, D] (indices int64 [num_envs]) -> int64 [num_envs].

        Continuous actions, here and of :meth:`greedy`, are float [num_envs, dims] within the space's bounds.
        """

    @abc.abstractmethod
    def greedy(self, obs: Tensor) -> NDArray[Any]:
        """Evaluation policy: encoded observations float32 [B, D] -> actions int64 [B]."""

    @abc.abstractmethod
    def losses(self, batch: Mapping[str, Tensor], weights: Tensor, collect: bool) -> tuple[Tensor, Tensor]:
        """Loss (float32 []) and priorities' TD errors (float32 [B]); fills ``stats`` if ``collect``."""

    def begin_episodes(self, started: NDArray[np.bool_], returns: NDArray[np.float64]) -> None:  # noqa: B027
        """Tell which instances begin an episode with the next action, and the return of the one they ended."""

    def observe(self, columns: Mapping[str, NDArray[Any]], ended: NDArray[np.bool_]) -> None:  # noqa: B027
        """See one step of every instance before it is stored.

        Args:
            columns: the replay's columns of the step, leading axis num_envs.
            ended: the episode terminated or was truncated, bool [num_envs].
        """

    def drop_running(self) -> None:  # noqa: B027
        """Forget the episodes that have not ended: every instance begins a new one."""

    def begin_learning(self, beta: float, stored: int) -> None:  # noqa: B027
        """Hear, before a learning phase, the importance weights' exponent and the number of stored transitions."""

    def path_columns(self) -> tuple[str, ...]:
        """Columns of which N-step transitions carry the N - 1 following values, as ``path_`` and the name."""
        return ()

    def extra_fields(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Replay columns of the agent's own, besides the transition."""
        return {}

    def extra_columns(self, count: int) -> dict[str, NDArray[Any]]:  # noqa: ARG002
        """Values of :meth:`extra_fields` for ``count`` new transitions."""
        return {}

    def transition_columns(
        self, columns: Mapping[str, NDArray[Any]], ended: NDArray[np.bool_]
    ) -> dict[str, NDArray[Any]]:
        """Values of :meth:`extra_fields` for one step of every instance, called once a step, in the order of time.

        Args:
            columns: ``obs``, ``action``, ``reward``, ``next_obs`` (the last observation of an episode that ends) and
                ``terminated``, leading axis num_envs, encoded as in the replay.
            ended: terminated or truncated, bool [num_envs].
        """
        del columns
        return self.extra_columns(len(ended))

    def schedule(self, step: int) -> dict[str, float]:  # noqa: ARG002
        """Values of the agent's schedules at an environment step, for the log."""
        return {}

    def compile(self) -> None:
        """Compile the loss with torch.compile, but for the updates that also gather statistics."""
        plain = self.losses
        compiled = torch.compile(plain, dynamic=False)

        def losses(batch: Mapping[str, Tensor], weights: Tensor, collect: bool) -> tuple[Tensor, Tensor]:
            result: tuple[Tensor, Tensor] = (plain if collect else compiled)(batch, weights, collect)
            return result

        self.losses = losses  # type: ignore[method-assign]

    def learn(self, batch: Mapping[str, Tensor], weights: Tensor, step: int, collect: bool) -> NDArray[np.float32]:
        """One gradient step.

        Args:
            batch: columns of a replay sample as tensors on the agent's device.
            weights: importance weights, float32 [B].
            step: environment step, for the message of an error.
            collect: also fill ``stats`` with figures for the log.

        Returns:
            The mean absolute TD error per transition (the new priorities), float32 [B].

        Raises:
            TrainingDivergedError: the loss is NaN or infinite.
        """
        loss, td_errors = self.losses(batch, weights, collect)
        value = loss.item()
        if not np.isfinite(value):
            raise diverged(value, step, self.updates)
        self.descend(loss)
        self.end_step()
        return np.asarray(td_errors.cpu().numpy(), dtype=np.float32)

    def descend(self, loss: Tensor) -> None:
        """Backward pass and optimiser step; neither waits for the device."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.config.max_grad_norm is not None:
            for group in self.optimizer.param_groups:
                torch.nn.utils.clip_grad_norm_(group["params"], self.config.max_grad_norm)
        self.optimizer.step()

    def end_step(self) -> None:
        """Count the gradient step and move the target networks."""
        self.updates += 1
        self.update_targets()

    def check_finite(self, step: int) -> None:
        """Check that no network has a weight that is NaN or infinite.

        Raises:
            TrainingDivergedError: one has; the message names it.
        """
        for name, module in self.modules().items():
            for key, value in module.state_dict().items():
                if not torch.isfinite(value).all():
                    raise TrainingDivergedError(
                        f"{name}.{key} is no longer finite at environment step {step}, gradient step {self.updates}; "
                        "try a smaller lr"
                    )

    def update_targets(self) -> None:
        """Move the target critic: Polyak every step, or a copy every ``target_period`` steps."""
        if self.config.target_update == "polyak":
            self.critic.update_target(self.config.target_polyak)
        elif self.updates % self.config.target_period == 0:
            self.critic.update_target()

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes while training."""
        return {
            "updates": self.updates,
            "modules": {name: dict(module.state_dict()) for name, module in self.modules().items()},
            "optimizer": self.optimizer.state_dict(),
            "policy_rng": rng_state(self.policy_rng),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.updates = int(state["updates"])
        self.load_modules(state)
        self.optimizer.load_state_dict(dict(state["optimizer"]))
        restore_rng(self.policy_rng, state["policy_rng"])

    def load_modules(self, state: Mapping[str, Any]) -> None:
        """Load the networks alone, as evaluation needs them."""
        for name, module in self.modules().items():
            module.load_state_dict(state["modules"][name])
