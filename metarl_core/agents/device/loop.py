"""The training loop with environments and replay on the device; the host looks at it now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from metarl_core.agents.common.learner import diverged
from metarl_core.agents.config import RunConfig
from metarl_core.agents.device.actors import ACTORS, Actor
from metarl_core.agents.device.encoding import DeviceEncoder
from metarl_core.agents.device.graphs import GradientStepGraphs
from metarl_core.agents.device.loss_watch import LossWatch
from metarl_core.agents.device.stepping import DeviceSteps
from metarl_core.agents.training_loop import TrainingLoop
from metarl_core.replay import Batch
from metarl_core.replay.device_base import DeviceReplayBuffer
from metarl_core.runs import Progress, RunWriter

__all__ = ["DeviceTrainer"]


class DeviceTrainer(TrainingLoop):
    """A run whose environments, replay and networks live on one device.

    It goes in stretches of steps, at the end of which the host looks: at each log, checkpoint and end of the run, and
    after 1,024 steps of every instance. Within a stretch nothing is copied between host and device and nothing waits:
    what the host counts for itself (steps, updates, schedules) it passes as numbers, and rewards and ends of episodes
    stay on the device until its look, when it accounts for them in the order of time. So it writes what
    :class:`~metarl_core.agents.loop.Trainer` writes, and checkpoints are the same files. A loss that is not finite, an
    episode that the atoms cannot hold and a solved task are noticed at the look.

    Args:
        config: the resolved run; see :func:`~metarl_core.agents.device.support.why_on_host`.
        run: where results go.
        progress: who watches; may ask to stop.
        core_device: where environments and replay live; the networks are on ``config.device``, which can read and write
            that memory.
    """

    replay: DeviceReplayBuffer

    def __init__(
        self, config: RunConfig, run: RunWriter, progress: Progress | None = None, core_device: str = "cuda"
    ) -> None:
        super().__init__(config, run, progress, core_device)
        device, n = self.agent.device, config.num_envs
        self.actor: Actor[Any] = ACTORS[type(self.agent)](self.agent)
        self.encode = DeviceEncoder(self.encoder, device)
        self.obs = from_dlpack(self.envs.reset(seed=config.seed)[0])
        self._stepping = DeviceSteps(self.envs, self.obs, self.encode)
        rows: dict[str, Tensor] = {}
        if self.tracker.counts_bad:
            rows["bad"] = torch.zeros(n, dtype=torch.bool, device=device)
        if self.visits is not None:
            rows["cell"] = torch.zeros(n, dtype=torch.int64, device=device)
        self.trace = self._stepping.trace(**rows)
        self._batch: tuple[Batch, dict[str, Tensor]] | None = None
        self._beta = torch.zeros(1, dtype=torch.float64, device=device)
        self._losses = LossWatch(device)
        self._update_steps: list[int] = []  # environment steps of the gradient steps since the last look
        self._step: Callable[[bool], None] = self.gradient_step
        if config.cuda_graphs:
            self._step = GradientStepGraphs(self.agent, self.gradient_step)
        self._begin()

    def _begin(self) -> None:
        self.encoded = self.encode(self.obs)
        self._bad = from_dlpack(self.envs.bad_episode()) if self.tracker.counts_bad else None

    def see(self, obs: NDArray[Any]) -> None:
        """Go on from observations in host memory."""
        self.obs.copy_(torch.from_numpy(obs))
        self.actor.load()
        self._begin()

    def last_observations(self) -> NDArray[Any]:
        """Observations that the next actions are for, in host memory."""
        return np.array(self.obs.cpu().numpy())

    def state_dict(self) -> dict[str, Any]:
        """The whole run, as the host's loop has it."""
        self.actor.store()
        return super().state_dict()

    @property
    def stored(self) -> int:
        """Transitions that can be sampled, as the host counts them."""
        return min(self.step, self.replay.capacity)

    def advance(self) -> None:
        """Act and learn up to the host's next look."""
        length, start = self._steps_to_next_look(), self.step
        first_update = self.agent.updates
        self._update_steps.clear()
        self.actor.begin(start, length)
        for at in range(length):
            self.act(at)
            self.learn()
        self._account(start, length)
        self._check(first_update)

    def _steps_to_next_look(self) -> int:
        config, n = self.config, self.config.num_envs
        left = min(self.next_log, self.next_checkpoint, config.total_steps) - self.step
        if config.max_episodes is not None:
            # An instance ends one episode a step at most, so the run's last one is never passed by.
            left = min(left, config.max_episodes - self.tracker.episodes)
        return max(1, min(-(-left // n), self.trace.length))

    @torch.no_grad()
    def act(self, at: int) -> None:
        """One environment step of every instance, number ``at`` since the last look: act, store, note."""
        actions = self.actor.act(self._network_input(self.encoded), at)
        if self.visits is not None:
            self.trace.note(at, cell=self.obs.flatten(1).argmax(dim=1))
        reward, terminated, ended, encoded, following = self._stepping.step(actions)
        if self.config.reward_threshold is not None:
            reward = (reward >= self.config.reward_threshold).to(torch.float64)
        columns = {
            "obs": self.encoded,
            "action": actions,
            "reward": reward.float(),
            "next_obs": following,
            "terminated": terminated,
            **self.actor.columns(at, self.encoded, following, ended),
        }
        self.replay.add(stream=None, **columns)
        self.trace.note(at, reward=reward, ended=ended)
        if self._bad is not None:
            self.trace.note(at, bad=self._bad)
        self.encoded = encoded
        self.step += len(actions)
        self.actor.begin_episodes(ended)

    def learn_batch(self, collect: bool) -> None:
        """Draw a batch, take one gradient step, refresh the batch's priorities."""
        self._beta.fill_(self.beta)
        self._update_steps.append(self.step)
        self._step(collect)
        self.agent.end_step()

    def gradient_step(self, collect: bool) -> None:
        """All of :meth:`learn_batch` that needs no number of the host's, so that a CUDA graph can record it.

        The first call allocates the batch, and the optimiser its state; so these are not for a graph.
        """
        batch, tensors = self._drawn()
        weights = tensors["weights"] if self._share == 1.0 else tensors["weights"] * self._share
        columns = self._network_columns({name: tensors[name] for name in self._columns})
        loss, errors = self.agent.losses(columns, weights, collect)
        self._losses.note(loss)
        self.agent.descend(loss)
        if self._prioritized:
            self.replay.update_priorities(batch, errors)

    def _drawn(self) -> tuple[Batch, dict[str, Tensor]]:
        """Draw into the same memory each time."""
        size = self.hyper.batch_size
        if self._batch is None:
            batch = self.replay.sample(size, self._beta)
            self._batch = batch, batch.torch()
        else:
            self.replay.sample(size, self._beta, out=self._batch[0])
        return self._batch

    def _account(self, start: int, length: int) -> None:
        """Let the host catch up with the steps since its last look, in the order of time."""
        seen = self.trace.read(length)
        for at in range(length):
            step = start + (at + 1) * self.config.num_envs
            reward, ended = seen["reward"][at], seen["ended"][at]
            if self.visits is not None:
                self.visits.count(seen["cell"][at], step)
            # The agents that act on a device see no other column than this one.
            self.agent.observe({"reward": reward.astype(np.float32)}, ended)
            returns = self.tracker.returns + reward
            for row in self.tracker.update(step, reward, ended, seen["bad"][at] if "bad" in seen else None):
                self.run.episode(row)
            self.agent.begin_episodes(ended, returns)

    def _check(self, first_update: int) -> None:
        """Raise what went wrong on the device since the last look, of which ``first_update`` was the gradient step."""
        bad = self._losses.look()
        if bad is not None:
            raise diverged(bad[1], self._update_steps[bad[0]], first_update + bad[0])
        self.encode.check()
        self.envs.check()
        self.replay.check()
