"""RL^2: a recurrent Q that learns, within a trial of some episodes, which task it is in."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import metarl_core
from metarl_core.agents.common.critic import double_q_target
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.common.networks import copy_parameters
from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.environments import Policy, SequenceSpaces
from metarl_core.agents.continual.learner import ContinualLearner
from metarl_core.agents.continual.memory import row_bytes
from metarl_core.agents.continual.qlearning import count_parameters
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.tasks import Task, TaskDataset

__all__ = ["RL2", "RecurrentQ", "recurrent_td_errors"]

_SEQUENCES = 8


class RecurrentQ(nn.Module):
    """Q(x_0 ... x_t, .) of a GRU over (observation, last action, last reward, whether an episode has just ended).

    Args:
        inputs: Width of x.
        hidden: Units of the GRU.
        num_actions: A.
        generator: Source of the initial weights, uniform in +-1/sqrt(hidden).
    """

    def __init__(self, inputs: int, hidden: int, num_actions: int, generator: torch.Generator) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(inputs, hidden), nn.Linear(hidden, num_actions)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_((torch.rand(p.shape, generator=generator) * 2 - 1) * hidden**-0.5)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step; x [B, I], state [B, H] -> Q [B, A] and the next state."""
        state = self.cell(x, state)
        return self.head(state), state

    def forward(self, x: Tensor, state: Tensor, done: Tensor) -> Tensor:
        """A sequence; x [B, L + 1, I], state [B, H], done [B, L] (the state begins anew after it) -> [B, L + 1, A]."""
        states = []
        for t in range(x.shape[1]):
            if t:
                state = state * (1 - done[:, t - 1, None])
            state = self.cell(x[:, t], state)
            states.append(state)
        q: Tensor = self.head(torch.stack(states, dim=1))
        return q


def recurrent_td_errors(q: Tensor, target_q: Tensor, batch: Mapping[str, Tensor], gamma: float) -> Tensor:
    """Double-Q TD errors of sequences: the value goes on from episode to episode, and ends with the trial.

    Args:
        q: Online values, [B, L + 1, A].
        target_q: Values of the slow copy.
        batch: ``action`` int64 [B, L], ``reward`` [B, L], ``done`` [B, L], 1 at the end of a trial.
        gamma: Discount.

    Returns:
        float32 [B, L].
    """
    following = q[:, 1:].detach(), target_q[:, 1:].detach()
    target = double_q_target(batch["reward"], gamma * (1 - batch["done"]), *following)
    return q[:, :-1].gather(2, batch["action"].unsqueeze(2)).squeeze(2) - target


class _Memory:
    """State of the GRU and what it is told of the last step, for some rows."""

    def __init__(self, rows: int, hidden: int, num_actions: int) -> None:
        self.state = torch.zeros(rows, hidden)
        self.last = np.zeros((rows, num_actions + 2), dtype=np.float32)

    def inputs(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        """X of the rows."""
        return np.concatenate((obs, self.last), axis=1)

    def told(self, action: NDArray[np.int64], reward: NDArray[np.float32], ended: NDArray[np.bool_]) -> None:
        """Take in what a step came to."""
        self.last[:] = 0.0
        self.last[np.arange(len(action)), action] = 1.0
        self.last[:, -2], self.last[:, -1] = reward, ended

    def reset(self, rows: NDArray[np.bool_]) -> None:
        """Begin anew in some rows."""
        self.last[rows] = 0.0
        self.state[torch.from_numpy(rows)] = 0.0


class _Playing:
    """The learner in an evaluation: greedy, with a state of its own."""

    def __init__(self, learner: RL2) -> None:
        self.learner, self.memory = learner, None

    memory: _Memory | None

    @torch.no_grad()
    def __call__(self, obs: NDArray[np.float32]) -> NDArray[np.int64]:
        tasks, rows, width = obs.shape
        if self.memory is None:
            self.memory = self.learner.fresh(tasks * rows)
        x = torch.from_numpy(self.memory.inputs(obs.reshape(-1, width)))
        q, self.memory.state = self.learner.net.step(x, self.memory.state)
        actions: NDArray[np.int64] = q.argmax(dim=1).numpy().reshape(tasks, rows)
        return actions

    def observe(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """What the step came to."""
        assert self.memory is not None
        self.memory.told(*(columns[name].reshape(-1) for name in ("action", "reward", "ended")))


class RL2(ContinualLearner):
    """Duan et al. 2016, with a recurrent Double DQN (as R2D2's, Kapturowski et al. 2019) in place of TRPO.

    A trial is ``rl2_trial`` episodes of one task; the GRU's state and the value go on from one to the next, so that the
    first is worth exploring in. Trained on all tasks at once, never told which; in an evaluation the trial's last
    episode counts. Sequences are stored with the state that they began with.
    """

    simultaneous: ClassVar[bool] = True

    def __init__(self, config: ContinualConfig, spaces: SequenceSpaces, tasks: Sequence[Task], seed: int) -> None:
        super().__init__(config, spaces, tasks, seed)
        self.trial_episodes = config.rl2_trial
        self.inputs = spaces.in_features + spaces.num_actions + 2
        generator = torch.Generator().manual_seed(purpose_seed(seed, "weights") >> 1)
        self.net = RecurrentQ(self.inputs, config.rl2_hidden, spaces.num_actions, generator)
        self.target = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), config.lr, fused=True)
        length = config.rl2_length
        self.fields: dict[str, tuple[tuple[int, ...], Any]] = {
            "x": ((length + 1, self.inputs), np.float32),
            "action": ((length,), np.int64),
            "reward": ((length,), np.float32),
            "done": ((length,), np.float32),
            "state": ((config.rl2_hidden,), np.float32),
        }
        capacity = max(_SEQUENCES, config.replay_capacity * self.num_tasks // length)
        self.replay = metarl_core.ReplayBuffer(capacity, self.fields, seed=purpose_seed(seed, "replay"))
        self.steps = 0

    @property
    def identity(self) -> bool:
        """Not told."""
        return False

    def fresh(self, rows: int) -> _Memory:
        """A state that knows nothing yet."""
        return _Memory(rows, self.config.rl2_hidden, self.spaces.num_actions)

    def begin_task(self, task: int, reference: TaskDataset | None) -> None:  # noqa: ARG002
        """The environments are new ones: trials begin anew."""
        self.known = self.num_tasks
        self.memory: _Memory | None = None

    @torch.no_grad()
    def act(self, obs: NDArray[np.float32], tasks: Sequence[int], epsilon: float) -> NDArray[np.int64]:  # noqa: ARG002
        """Epsilon-greedy; the GRU's state goes on."""
        shape, flat = obs.shape[:2], obs.reshape(-1, obs.shape[2])
        if self.memory is None:
            self.memory = self.fresh(len(flat))
            self.episodes = np.zeros(len(flat), np.int64)
            self._start_sequence()
        x = self.memory.inputs(flat)
        if len(self.parts["x"]) == self.config.rl2_length:
            self._store_sequences(x)
        if not self.parts["x"]:
            self.first_state = self.memory.state.clone()
        self.parts["x"].append(x)
        q, self.memory.state = self.net.step(torch.from_numpy(x), self.memory.state)
        uniform = self.rng.random(shape) < epsilon
        drawn = self.rng.integers(self.spaces.num_actions, size=shape)
        return np.where(uniform, drawn, q.argmax(dim=1).numpy().reshape(shape))

    def _start_sequence(self) -> None:
        self.parts: dict[str, list[NDArray[Any]]] = {name: [] for name in ("x", "action", "reward", "done")}

    def _store_sequences(self, following: NDArray[np.float32]) -> None:
        self.parts["x"].append(following)
        stacked = {name: np.stack(rows, axis=1) for name, rows in self.parts.items()}
        self.replay.add(**stacked, state=self.first_state.numpy())
        self._start_sequence()

    def store(self, columns: Mapping[str, NDArray[Any]], tasks: Sequence[int]) -> None:  # noqa: ARG002
        """Go on with the sequences of the rows, and begin trials anew where one has ended."""
        assert self.memory is not None
        action, reward, ended = (columns[name].reshape(-1) for name in ("action", "reward", "ended"))
        self.episodes += ended
        done = self.episodes >= self.trial_episodes
        for name, row in (("action", action), ("reward", reward), ("done", done.astype(np.float32))):
            self.parts[name].append(row.copy())
        self.memory.told(action, reward, ended)
        self.memory.reset(done)
        self.episodes[done] = 0
        self.steps += len(action)

    def learn(self) -> None:
        """As many transitions for every environment step as the other methods learn from."""
        c = self.config
        if self.steps < c.learning_starts or len(self.replay) < _SEQUENCES:
            return
        steps_per_update = c.train_every * _SEQUENCES * c.rl2_length / c.batch_size
        while (self.updates + 1) * steps_per_update <= self.steps:
            self.update()

    def update(self) -> None:
        """One gradient step on the mean squared TD error of some sequences.

        Raises:
            TrainingDivergedError: the loss is not finite.
        """
        drawn = self.replay.sample(_SEQUENCES)
        batch = {name: torch.from_numpy(drawn[name]) for name in self.fields}
        inputs = (batch["x"], batch["state"], batch["done"])
        with torch.no_grad():
            target_q = self.target(*inputs)
        loss = recurrent_td_errors(self.net(*inputs), target_q, batch, self.config.gamma).square().mean()
        if not torch.isfinite(loss):
            raise TrainingDivergedError(f"loss is {loss.item()} at gradient step {self.updates}; try a smaller lr")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self.optimizer.step()
        self.updates += 1
        if self.updates % self.config.target_period == 0:
            copy_parameters(self.target.parameters(), self.net.parameters())

    def end_task(self, task: int) -> None:
        """Nothing."""

    def policy(self, tasks: Sequence[int]) -> Policy:  # noqa: ARG002
        """Greedy, with a state of its own."""
        return _Playing(self)

    def new_policy(self, references: Sequence[TaskDataset]) -> Policy:  # noqa: ARG002
        """The same: it is never told the task."""
        return _Playing(self)

    def greedy(self, obs: NDArray[np.float32], tasks: Sequence[int]) -> NDArray[np.int64]:  # noqa: ARG002
        """At the start of a trial, nothing known."""
        return _Playing(self)(obs)

    def greedy_new(self, obs: NDArray[np.float32], met: Any) -> NDArray[np.int64]:  # noqa: ARG002
        """At the start of a trial, nothing known."""
        return _Playing(self)(obs)

    def parameters(self) -> int:
        """Of the network."""
        return count_parameters(self.net)

    def stored_bytes(self) -> int:
        """The sequences in the replay, which goes on through all phases."""
        return len(self.replay) * row_bytes(self.fields)
