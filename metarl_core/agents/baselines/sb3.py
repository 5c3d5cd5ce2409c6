"""SAC and TD3 of stable-baselines3 (Raffin et al. 2021) on our environments, writing our run directory.

The learning loop, the losses and the replay are the library's; environments, encoding of observations, budget of steps,
bookkeeping, evaluation and checkpoints are ours. A run resumed from a checkpoint on the CPU makes the same steps, bit
for bit, as one that was never interrupted: a checkpoint holds the library's networks, optimisers and replay, and the
states of the global generators that it draws from.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarl_core.agents.baselines.sb3_agent import Sb3Agent, policy_arguments, require_sb3
from metarl_core.agents.baselines.sb3_config import SacConfig, Sb3Config, Td3Config
from metarl_core.agents.common.actions import BoxActions, actions_of
from metarl_core.agents.common.devices import check_device
from metarl_core.agents.common.learner import TrainingDivergedError, restore_rng, rng_state
from metarl_core.agents.common.observations import ObservationEncoder
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.common.run_end import last_good_checkpoint, reached_end, result_of, train_to_end
from metarl_core.agents.common.tracking import EpisodeTracker
from metarl_core.agents.config import RunConfig
from metarl_core.agents.evaluate import evaluate_agent
from metarl_core.agents.task_context import TaskContext, make_envs
from metarl_core.runs import NullProgress, Progress, RunWriter

__all__ = ["Sb3Trainer", "train_sb3"]


class _StopTraining(Exception):  # noqa: N818
    """Ends the library's loop between two of its rounds, where its state is whole."""


class Sb3Trainer:
    """One run of SAC or TD3.

    Args:
        config: the resolved run.
        run: where results go.
        progress: who watches; may ask to stop.

    Raises:
        ConfigError: the library is not installed, the device cannot be used, or the environment does not fit.
    """

    def __init__(self, config: RunConfig, run: RunWriter, progress: Progress | None = None) -> None:
        check_device(config.device)
        require_sb3()
        from metarl_core.agents.baselines.sb3_env import Sb3VecEnv

        assert isinstance(config.hyperparameters, Sb3Config)
        self.config, self.run, self.hyper = config, run, config.hyperparameters
        self.progress = progress or NullProgress()
        if self.hyper.train_every % config.num_envs:
            raise ConfigError(f"train_every={self.hyper.train_every}: must be a multiple of num_envs={config.num_envs}")
        if config.compile:
            raise ConfigError(f"compile=true: the loss of {config.algorithm} is stable-baselines3's; leave it false")
        if config.cuda_graphs:
            raise ConfigError(
                f"cuda_graphs=true: {config.algorithm} has its environments in host memory; leave it false"
            )
        torch.set_num_threads(self.hyper.torch_threads)
        envs = make_envs(config, config.num_envs, config.seed)
        try:
            actions = actions_of(envs.single_action_space, config.env_id)
            if not isinstance(actions, BoxActions):
                raise ConfigError(f"{config.env_id} has discrete actions; {config.algorithm} needs continuous ones")
            context_of = TaskContext(config)
            self.encoder = ObservationEncoder(
                envs.single_observation_space, self.hyper.normalize_obs, context_size=context_of.size
            )
            self.agent = Sb3Agent(
                self.hyper,
                self.encoder.features,
                actions,
                config.num_envs,
                config.seed,
                config.device,
                self.encoder.one_hot,
            )
        except ConfigError:
            envs.close()
            raise
        self.tracker = EpisodeTracker(config.num_envs, False, config.solve_return)
        self.step, self.wall_time = 0, 0.0
        self.next_log, self.next_checkpoint = config.log_interval, config.checkpoint_interval
        self.saved_step: int | None = None
        self.last_row: dict[str, Any] = {}
        self.env = Sb3VecEnv(envs, self.encoder, context_of, self._on_env_step)
        self.model = self._make_model()
        self._to_restore: Mapping[str, Any] | None = None
        self._sitting_start = time.perf_counter()
        self._row_start = (0, 0.0, 0)

    def _make_model(self) -> Any:
        from stable_baselines3 import SAC, TD3
        from stable_baselines3.common.logger import Logger

        hyper, config = self.hyper, self.config
        common: dict[str, Any] = {
            "policy": "MlpPolicy",
            "env": self.env,
            "learning_rate": hyper.lr,
            # The library's capacity is divided by the number of instances and rounded down.
            "buffer_size": min(hyper.replay_capacity, config.total_steps + config.num_envs),
            "learning_starts": hyper.learning_starts,
            "batch_size": hyper.batch_size,
            "tau": hyper.polyak,
            "gamma": hyper.gamma,
            "train_freq": (hyper.train_every // config.num_envs, "step"),
            "gradient_steps": hyper.gradient_steps,
            "action_noise": self._noise(),
            "policy_kwargs": policy_arguments(hyper),
            # NumPy's global generator takes 32 bits.
            "seed": int(np.random.SeedSequence(config.seed).generate_state(1)[0]),
            "device": config.device,
        }
        if isinstance(hyper, Td3Config):
            model: Any = TD3(
                **common,
                policy_delay=hyper.policy_delay,
                target_policy_noise=hyper.target_noise,
                target_noise_clip=hyper.target_noise_clip,
            )
        else:
            assert isinstance(hyper, SacConfig)
            model = SAC(**common, ent_coef=hyper.entropy, use_sde=hyper.gsde)
        model.set_logger(Logger(folder=None, output_formats=[]))
        # The library seeded the environment by its own seed; ours starts as in every other algorithm.
        self.env.seed(config.seed)
        return model

    def _noise(self) -> Any:
        from stable_baselines3.common.noise import (
            NormalActionNoise,
            OrnsteinUhlenbeckActionNoise,
            VectorizedActionNoise,
        )

        if self.hyper.noise == "none":
            return None
        size = self.agent.actions.size
        mean, std = np.zeros(size), np.full(size, self.hyper.noise_std)
        kind = NormalActionNoise if self.hyper.noise == "normal" else OrnsteinUhlenbeckActionNoise
        noise = kind(mean, std)
        return noise if self.config.num_envs == 1 else VectorizedActionNoise(noise, self.config.num_envs)

    def _on_env_step(self, reward: NDArray[Any], ended: NDArray[np.bool_]) -> None:
        self.step += self.config.num_envs
        for row in self.tracker.update(self.step, reward, ended, None):
            self.run.episode(row)

    def finished(self) -> bool:
        """Whether the run has reached one of its ends."""
        return reached_end(self.config, self.step, self.tracker)

    def elapsed(self) -> float:
        """Seconds spent, over all sittings."""
        return self.wall_time + time.perf_counter() - self._sitting_start

    def log(self) -> None:
        """Write one row of metrics; the library's own figures are further columns."""
        elapsed, values = self.elapsed(), self.model.logger.name_to_value
        now = (self.step, elapsed, self.model._n_updates)
        steps, seconds, updates = (new - old for new, old in zip(now, self._row_start, strict=True))
        self._row_start = now
        learned = {
            name.removeprefix("train/"): float(value) for name, value in values.items() if "n_updates" not in name
        }
        loss = learned.pop("critic_loss", None)
        self.last_row = {
            "step": self.step,
            "episodes": self.tracker.episodes,
            "wall_time": elapsed,
            **self.tracker.take_interval(),
            "loss": loss,
            "updates": self.model._n_updates,
            **learned,
            "steps_per_second": steps / seconds if seconds > 0 else None,
            "updates_per_second": updates / seconds if seconds > 0 else None,
        }
        self.run.metrics(self.last_row)

    def check_finite(self) -> None:
        """Check the last losses and what the next actions would be made of.

        Raises:
            TrainingDivergedError: a loss or a weight is NaN or infinite; the message says which checkpoint is good.
        """
        values = [(name, float(value)) for name, value in self.model.logger.name_to_value.items() if "loss" in name]
        broken = [f"{name.removeprefix('train/')} is {value}" for name, value in values if not np.isfinite(value)]
        weights = torch.nn.utils.parameters_to_vector(self.model.policy.parameters())
        if not broken and not torch.isfinite(weights).all():
            broken = ["a weight is no longer finite"]
        if broken:
            good = last_good_checkpoint(self.saved_step)
            raise TrainingDivergedError(
                f"{broken[0]} at environment step {self.step}, gradient step {self.model._n_updates}; try a smaller lr "
                f"({good})"
            )

    def between_rounds(self) -> None:
        """Log, save and look for the end; the library has just learned and is about to act."""
        if self._to_restore is not None:
            self._restore_random(self._to_restore)
            self._to_restore = None
        self.check_finite()
        if self.step >= self.next_log:
            self.next_log += self.config.log_interval
            self.log()
        if self.step >= self.next_checkpoint:
            self.next_checkpoint += self.config.checkpoint_interval
            self.save()
        if self.step:
            self.progress.update(self.step, self.config.total_steps, {**self.last_row, "solved": self.tracker.solved})
        if self.finished() or self.progress.should_stop():
            raise _StopTraining

    def save(self) -> None:
        """Save the run."""
        self.run.save_checkpoint(self.state_dict())
        self.saved_step = self.step

    def train(self) -> dict[str, Any]:
        """Run to the end, or until the progress asks to stop; write the result.

        Returns:
            What result.json holds.

        Raises:
            TrainingDivergedError: a loss or a weight is NaN or infinite.
        """
        from stable_baselines3.common.callbacks import BaseCallback

        trainer = self

        class Between(BaseCallback):
            def _on_rollout_start(self) -> None:
                trainer.between_rounds()

            def _on_step(self) -> bool:
                return True

        try:
            # Rounds are counted here, so the library's own budget is one that it cannot reach.
            with contextlib.suppress(_StopTraining):
                self.model.learn(2**62, Between(), log_interval=None, reset_num_timesteps=False)
        except ValueError:  # what the library, or an environment, says of NaN
            self.check_finite()
            raise
        interrupted = not self.finished()
        if not interrupted and self.step > self._row_start[0]:
            self.log()
        self.save()
        return self._finish(interrupted)

    def _finish(self, interrupted: bool) -> dict[str, Any]:
        wall_time, evaluation = self.elapsed(), None
        if not interrupted and self.config.evaluation_episodes:
            self.agent.load_modules({"policy": self.model.policy.state_dict()})
            evaluation = evaluate_agent(self.config, self.agent, self.encoder)["return_mean"]
        return self.run.finish(result_of(self.config, self.step, self.tracker, wall_time, evaluation, interrupted))

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        found = {"actor": self.model.actor.optimizer, "critic": self.model.critic.optimizer}
        if getattr(self.model, "ent_coef_optimizer", None) is not None:
            found["entropy"] = self.model.ent_coef_optimizer
        return found

    def _noises(self) -> list[Any]:
        """The noise of each instance, those that remember (Ornstein-Uhlenbeck)."""
        noise = self.model.action_noise
        return [each for each in getattr(noise, "noises", [noise]) if hasattr(each, "noise_prev")]

    def _exploration_matrices(self) -> dict[str, torch.Tensor]:
        """What gSDE has drawn for the round that begins; empty without it."""
        distribution = getattr(self.model.actor, "action_dist", None) if getattr(self.hyper, "gsde", False) else None
        names = ("exploration_mat", "exploration_matrices") if distribution is not None else ()
        return {name: getattr(distribution, name).detach().clone() for name in names}

    def _restore_random(self, state: Mapping[str, Any]) -> None:
        """Put noise and generators back; the library has drawn anew since, when its loop began."""
        for each, value in zip(self._noises(), state["noise"], strict=True):
            each.noise_prev = np.array(value)
        for name, value in state["gsde"].items():
            setattr(self.model.actor.action_dist, name, value.to(self.agent.device))
        name, keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state((name, np.asarray(keys), int(position), int(has_gauss), float(cached)))  # noqa: NPY002
        torch.set_rng_state(state["torch"])
        restore_rng(self.env.action_space.np_random, state["actions"])

    _BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")

    def state_dict(self) -> dict[str, Any]:
        """The whole run."""
        model, buffer = self.model, self.model.replay_buffer
        rows = buffer.buffer_size if buffer.full else buffer.pos
        name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
        return {
            "step": self.step,
            "wall_time": self.elapsed(),
            "next_log": self.next_log,
            "next_checkpoint": self.next_checkpoint,
            "agent": {
                "policy": dict(model.policy.state_dict()),
                "optimizers": {key: optimizer.state_dict() for key, optimizer in self._optimizers().items()},
                "log_ent_coef": None if getattr(model, "log_ent_coef", None) is None else model.log_ent_coef.detach(),
                "updates": int(model._n_updates),
            },
            "stats": {key: float(value) for key, value in model.logger.name_to_value.items()},
            "replay": {
                **{field: getattr(buffer, field)[:rows] for field in self._BUFFER},
                "pos": int(buffer.pos),
                "full": bool(buffer.full),
            },
            "tracker": self.tracker.state_dict(),
            "random": {
                "noise": [np.array(each.noise_prev) for each in self._noises()],
                "gsde": self._exploration_matrices(),
                "numpy": [str(name), np.array(keys), int(position), int(has_gauss), float(cached)],
                "torch": torch.get_rng_state(),
                "actions": rng_state(self.env.action_space.np_random),
            },
            # Environments that are not native cannot be saved.
            "envs": self.env.envs.snapshot() if hasattr(self.env.envs, "snapshot") else None,
            "obs": None if model._last_obs is None else np.array(model._last_obs),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        model, buffer, agent, rows = self.model, self.model.replay_buffer, state["agent"], state["replay"]
        self.step, self.wall_time = int(state["step"]), float(state["wall_time"])
        self.next_log, self.next_checkpoint = int(state["next_log"]), int(state["next_checkpoint"])
        self.saved_step = self.step
        model.policy.load_state_dict(agent["policy"])
        for key, optimizer in self._optimizers().items():
            optimizer.load_state_dict(dict(agent["optimizers"][key]))
        if agent["log_ent_coef"] is not None:
            model.log_ent_coef.data.copy_(agent["log_ent_coef"])
        model.num_timesteps, model._n_updates = self.step, int(agent["updates"])
        model.logger.name_to_value.update(state["stats"])
        for field in self._BUFFER:
            getattr(buffer, field)[: len(rows[field])] = rows[field]
        buffer.pos, buffer.full = int(rows["pos"]), bool(rows["full"])
        self.tracker.load_state_dict(state["tracker"])
        if state["envs"] is None:
            # New episodes; those under way are dropped, not counted as ended.
            self.env.seed((self.config.seed + self.step) % 2**64)
            model._last_obs = self.env.reset()
            self.tracker.drop_running()
        elif state["obs"] is not None:
            self.env.envs.restore(state["envs"])
            model._last_obs = np.array(state["obs"])
            self.env.refresh_context()
        model._last_episode_starts = np.zeros(self.config.num_envs, dtype=bool)
        self._to_restore = state["random"]
        self._sitting_start = time.perf_counter()
        self._row_start = (self.step, self.wall_time, model._n_updates)


def train_sb3(config: RunConfig, run: RunWriter, progress: Progress | None = None) -> dict[str, Any]:
    """Train SAC or TD3, or go on from the run's checkpoint; as :func:`metarl_core.agents.train`.

    The library draws from NumPy's and torch's global generators: they are seeded here.
    """
    from metarl_core.agents.loop import setting_up

    with setting_up():
        trainer = Sb3Trainer(config, run, progress)
    return train_to_end(trainer, run, trainer.env.close)
