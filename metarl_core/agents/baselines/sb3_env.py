"""Our vector environments as stable-baselines3's ``VecEnv``, and the bookkeeping of their episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from metarl_core.agents.common.observations import ObservationEncoder

__all__ = ["Sb3VecEnv", "box_space"]

OnStep = Callable[[NDArray[Any], NDArray[np.bool_]], None]


def box_space(encoder: ObservationEncoder) -> gymnasium.spaces.Box:
    """Space of the encoded observations."""
    return gymnasium.spaces.Box(-np.inf, np.inf, encoder.shape, np.float32)


class Sb3VecEnv(VecEnv):
    """One of our vector environments in same-step mode, its observations encoded as our agents see them.

    Args:
        envs: the vector environment, actions a Box.
        encoder: of the observations.
        context_of: gives what the agent sees of each instance's task, or None.
        on_step: called after each step with rewards and ends, [num_envs].
    """

    def __init__(
        self, envs: Any, encoder: ObservationEncoder, context_of: Callable[[Any], Any], on_step: OnStep
    ) -> None:
        self.envs, self.encoder, self.context_of, self.on_step = envs, encoder, context_of, on_step
        space = envs.single_action_space
        # A space of its own, whose generator a checkpoint can hold, with Gymnasium installed or not.
        actions = gymnasium.spaces.Box(space.low, space.high, dtype=np.float32)
        super().__init__(envs.num_envs, box_space(encoder), actions)
        self._actions: NDArray[Any] | None = None
        self._context: NDArray[np.float32] | None = None

    def reset(self) -> NDArray[np.float32]:
        """Start an episode in every instance."""
        seed = self._seeds[0]
        obs, _ = self.envs.reset(seed=seed)
        self._reset_seeds()
        return self.observed(obs)

    def observed(self, obs: NDArray[Any]) -> NDArray[np.float32]:
        """Encode what the instances observe now."""
        self._context = self.context_of(self.envs)
        return self.encoder(obs, self._context)

    def refresh_context(self) -> None:
        """Read the tasks anew, after the environments were restored."""
        self._context = self.context_of(self.envs)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for :meth:`step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step; as the interface has it, the last observation of an episode that ended is in its info."""
        task = self._context
        obs, reward, terminated, truncated, _ = self.envs.step(self._actions)
        ended = terminated | truncated
        encoded = self.observed(obs)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if ended.any():
            final = self.encoder(self.envs.final_obs_dense()[0], task)
            for env in np.flatnonzero(ended):
                infos[env]["terminal_observation"] = final[env]
                infos[env]["TimeLimit.truncated"] = bool(truncated[env] and not terminated[env])
        self.on_step(reward, ended)
        return encoded, reward.astype(np.float32), ended, infos

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Value of an attribute, the same for all instances."""
        value = None if attr_name == "render_mode" else getattr(self.envs, attr_name)
        return [value] * self._count(indices)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not there: the instances share one object."""
        raise NotImplementedError(f"set_attr({attr_name!r}, ...): the instances share one object")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Not there: the instances share one object."""
        raise NotImplementedError(f"env_method({method_name!r}, ...): the instances share one object")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:  # noqa: ARG002
        """Nothing is wrapped."""
        return [False] * self._count(indices)

    def _count(self, indices: int | Sequence[int] | None) -> int:
        return len(list(self._get_indices(indices)))
