"""IMT as a run: progress, tables, a checkpoint after every round, and the comparison on held-out tasks at the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl_core.agents.common.devices import check_device, flushed_denormals
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.common.run_end import last_good_checkpoint, train_to_end
from metarl_core.agents.config import RunConfig
from metarl_core.agents.device.support import place_core, why_env_on_host
from metarl_core.agents.evaluate import SEED_OFFSET
from metarl_core.agents.imt.comparison import METHODS, Comparison, compare
from metarl_core.agents.imt.costs import learner_costs
from metarl_core.agents.imt.learner import ImtLearner
from metarl_core.agents.imt.outcomes import Adapted, Round
from metarl_core.agents.imt.run_config import ImtRunConfig, settle_imt
from metarl_core.agents.imt.task_rows import TaskRows
from metarl_core.agents.task_context import family_tasks
from metarl_core.runs import NullProgress, Progress, RunWriter

__all__ = ["ImtTrainer", "evaluate_imt", "train_imt"]


class _Stopped(Exception):  # noqa: N818
    """Ends a round that is under way; the checkpoint before it is what the run goes on from."""


def _make_learner(config: RunConfig, core_device: str = "cpu") -> tuple[ImtLearner, dict[str, NDArray[np.float64]]]:
    """The learner of a run, and its test tasks.

    Args:
        config: of the run.
        core_device: where its environments and its replay live.

    Raises:
        ConfigError: as of :class:`ImtLearner`, or the environment has no family with so many tasks.
    """
    hyper = config.hyperparameters
    assert isinstance(hyper, ImtRunConfig)
    train = family_tasks(config, config.env_tasks, hyper.train_split)
    val = family_tasks(config, hyper.val_tasks, "val") if hyper.val_tasks else None
    test = family_tasks(config, hyper.test_tasks, "test")
    try:
        learner = ImtLearner(
            config.env_id,
            train,
            hyper,
            seed=config.seed,
            val_tasks=val,
            test_tasks=test,
            params=config.env_params,
            device=config.device,
            core_device=core_device,
        )
    except ConfigError:
        raise
    except ValueError as error:  # tasks whose data are all the same, for example
        raise ConfigError(f"{config.env_id}: {error}") from error
    return learner, test


class ImtTrainer:
    """One run of IMT.

    A checkpoint holds everything that later rounds depend on. When it is asked to stop, a run ends at once, and going
    on repeats the round that was under way: all files of a run that was stopped and continued are those of one that was
    not, bit for bit on the CPU.

    Args:
        config: the resolved run.
        run: where results go.
        progress: who watches; may ask to stop.
        core_device: where the environments and the replay live, see :class:`ImtLearner`.

    Raises:
        ConfigError: the device cannot be used, or the settings do not fit.
    """

    def __init__(
        self, config: RunConfig, run: RunWriter, progress: Progress | None = None, core_device: str = "cpu"
    ) -> None:
        check_device(config.device)
        self.config = settle_imt(config, frozenset())
        assert isinstance(self.config.hyperparameters, ImtRunConfig)
        self.hyper = self.config.hyperparameters
        self.run, self.progress = run, progress or NullProgress()
        self.learner, self.test_tasks = _make_learner(self.config, core_device)
        self.learner.tick = self._tick
        self.wall_time, self.episodes = 0.0, 0
        self.best_return: float | None = None
        self.recent: deque[float] = deque(maxlen=100)
        self.saved_step: int | None = None
        self.last_row: dict[str, Any] = {}
        self._saved_counts: tuple[int, float | None, list[float]] = (0, None, [])
        self._saved_costs = learner_costs(self.learner)
        self._pending: list[dict[str, Any]] = []
        self._sitting_start = time.perf_counter()
        self._row_start = (0, 0.0, 0)

    def elapsed(self) -> float:
        """Seconds spent, over all sittings."""
        return self.wall_time + time.perf_counter() - self._sitting_start

    def _tick(self, stepped: TaskRows | None) -> None:
        learner = self.learner
        step = learner.environment_steps
        if stepped is not None:
            first = 0 if stepped is learner.actors else learner.num_tasks * learner.actors.per_task
            for row, total, length in stepped.ended:
                self.episodes += 1
                self.recent.append(total)
                self.best_return = total if self.best_return is None else max(total, self.best_return)
                self._pending.append(
                    {"episode": self.episodes, "step": step, "env": first + row, "return": total, "length": length}
                )
        number = min(len(learner.rounds) + 1, self.hyper.rounds)
        shown = {"round": number, **self.last_row, "episodes": self.episodes}
        self.progress.update(step, self.config.total_steps, {**shown, "round": number})
        if self.progress.should_stop():
            raise _Stopped

    def _end_round(self, done: Round) -> None:
        """Write what the round came to, then save."""
        self._log(done)
        for row in self._pending:
            self.run.episode(row)
        self._pending = []
        self._save_rounds()
        self.save()

    def _log(self, done: Round) -> None:
        elapsed, learner, hyper = self.elapsed(), self.learner, self.hyper
        now = (done.steps, elapsed, learner.updates)
        steps, seconds, updates = (new - old for new, old in zip(now, self._row_start, strict=True))
        self._row_start = now
        returns = [row["return"] for row in self._pending]
        validation = done.validation_returns
        self.last_row = {
            "step": done.steps,
            "episodes": self.episodes,
            "wall_time": elapsed,
            "return_mean": float(np.mean(returns)) if returns else None,
            "return_max": float(np.max(returns)) if returns else None,
            "loss": float(np.mean(done.embedding_loss + hyper.lambda_rl * done.td_loss)),
            "epsilon": learner.epsilon(done.number),
            "updates": learner.updates,
            "steps_per_second": steps / seconds if seconds > 0 else None,
            "updates_per_second": updates / seconds if seconds > 0 else None,
            "round": done.number,
            "embedding_loss": float(np.mean(done.embedding_loss)),
            "td_loss": float(np.mean(done.td_loss)),
            "embedding_accuracy": float(np.mean(done.weights.accuracy)),
            "effective_submodels": done.weights.effective_sample_size,
            "trunk_change": done.weights.relative_change,
            "validation_return": None if validation is None else float(np.mean(validation)),
            "selection_steps": done.selection_steps,
        }
        self.run.metrics(self.last_row)

    def _save_rounds(self) -> None:
        rounds = self.learner.rounds
        arrays = {
            "steps": np.array([r.steps for r in rounds]),
            "selection_steps": np.array([r.selection_steps for r in rounds]),
            **{
                name: np.stack([getattr(r, name) for r in rounds])
                for name in ("embedding_loss", "td_loss", "train_returns")
            },
            **{
                name: np.stack([getattr(r.weights, name) for r in rounds])
                for name in ("similarity", "accuracy", "weights")
            },
            "trunk_change": np.array([r.weights.relative_change for r in rounds]),
        }
        validation = [r.validation_returns for r in rounds if r.validation_returns is not None]
        if validation:
            arrays["validation_returns"] = np.stack(validation)
        self.run.save_array("imt_rounds", **arrays)

    def save(self) -> None:
        """Save the run."""
        self._saved_counts = (self.episodes, self.best_return, list(self.recent))
        self._saved_costs = learner_costs(self.learner)
        self.run.save_checkpoint(self.state_dict())
        self.saved_step = self.learner.environment_steps

    def train(self) -> dict[str, Any]:
        """Run to the end, or until the progress asks to stop; write the result.

        Returns:
            What result.json holds.

        Raises:
            TrainingDivergedError: a loss is no longer finite.
        """
        learner, comparison = self.learner, None
        try:
            with flushed_denormals():
                if not learner.pretrained:
                    learner.pretrain()
                    self.save()
                while not learner.rounds or learner.rounds[-1].stop is None:
                    self._end_round(learner.round())
                comparison = self._compare()
        except _Stopped:
            pass
        except TrainingDivergedError as error:
            raise TrainingDivergedError(f"{error} ({last_good_checkpoint(self.saved_step)})") from error
        return self.run.finish(self._result(comparison))

    def _compare(self) -> Comparison:
        """Play all methods on the held-out tasks, and keep what they came to."""
        adapted = self.learner.adapt(self.test_tasks)
        found = compare(self.learner, adapted, self.config.evaluation_episodes)
        names = list(self.test_tasks)
        self.run.save_array(
            "imt_tasks",
            methods=np.array(list(found.returns)),
            descriptions=np.array([METHODS[name] for name in found.returns]),
            returns=np.stack(list(found.returns.values())),
            submodels_on_train=found.on_train,
            submodels_on_test=found.on_test,
            weights=adapted.weights,
            rule=np.array(adapted.rule),
            train_embeddings=self.learner.task_embeddings,
            test_embeddings=adapted.embeddings,
            parameters=np.array(names),
            train_tasks=np.stack([self.learner.train_tasks[name] for name in names], axis=1),
            test_tasks=np.stack([self.test_tasks[name] for name in names], axis=1),
        )
        return found

    def _result(self, comparison: Comparison | None) -> dict[str, Any]:
        config, learner, wall_time = self.config, self.learner, self.elapsed()
        if comparison is None:  # what is in the files, without the round that was under way
            self.episodes, self.best_return, recent = self._saved_counts
            self.recent = deque(recent, maxlen=100)
        step = self.saved_step or 0
        means = {} if comparison is None else {name: float(r.mean()) for name, r in comparison.returns.items()}
        own = None if comparison is None else float(np.diag(comparison.on_train).mean())
        return {
            "algorithm": config.algorithm,
            "environment": config.env_id,
            "environment_params": config.env_params,
            "seed": config.seed,
            "solved": None,
            "episodes": self.episodes,
            "episodes_to_solve": None,
            "environment_steps": step,
            "final_return": float(np.mean(self.recent)) if self.recent else None,
            "best_return": self.best_return,
            "evaluation_return": means.get("imt") if self.hyper.train_split == "train" else own,
            "wall_time_seconds": wall_time,
            "steps_per_second": step / wall_time if wall_time > 0 else None,
            "status": "interrupted" if comparison is None else "finished",
            "tasks": {"train": config.env_tasks, "val": self.hyper.val_tasks, "test": self.hyper.test_tasks},
            "rounds": len(learner.rounds),
            "stop": learner.rounds[-1].stop if learner.rounds else None,
            "transductive": "test" in (self.hyper.tune_on, self.hyper.train_split),
            "selection_steps": learner.selection_steps,
            "parameters": self._saved_costs.parameters,
            "stored_bytes": self._saved_costs.stored_bytes,
            "adaptation_steps": {} if comparison is None else comparison.adaptation_steps,
            "test_returns": means,
        }

    def state_dict(self) -> dict[str, Any]:
        """The whole run, between two rounds."""
        return {
            "step": self.learner.environment_steps,
            "wall_time": self.elapsed(),
            "episodes": self.episodes,
            "best_return": self.best_return,
            "recent": np.array(self.recent, dtype=np.float64),
            "learner": self.learner.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.wall_time, self.episodes = float(state["wall_time"]), int(state["episodes"])
        self.best_return = None if state["best_return"] is None else float(state["best_return"])
        self.recent = deque((float(total) for total in state["recent"]), maxlen=100)
        self.learner.load_state_dict(state["learner"])
        self.saved_step = int(state["step"])
        self._saved_counts = (self.episodes, self.best_return, list(self.recent))
        self._saved_costs = learner_costs(self.learner)
        self._sitting_start = time.perf_counter()
        self._row_start = (self.saved_step, self.wall_time, self.learner.updates)


def train_imt(config: RunConfig, run: RunWriter, progress: Progress | None = None) -> dict[str, Any]:
    """Train IMT on a family of tasks, or go on from the run's checkpoint; as :func:`metarl_core.agents.train`.

    On a GPU, environments and replay live there, too, where they can; else the log says why not.
    """
    from metarl_core.agents.loop import setting_up

    with setting_up():
        check_device(config.device)
        trainer = ImtTrainer(config, run, progress, _place(config))
    return train_to_end(trainer, run, trainer.learner.close)


def _place(config: RunConfig) -> str:
    """Where environments and replay of a run go."""
    reason = None if config.device == "cpu" else why_env_on_host(config.env_id, config.env_params)
    return place_core(config.device, reason)


def evaluate_imt(config: RunConfig, state: Mapping[str, Any], episodes: int, seed: int | None = None) -> dict[str, Any]:
    """Evaluate the submodels of a checkpoint, put together as configured, on the run's held-out tasks.

    They are played where a run of this configuration plays.

    Args:
        config: of the run.
        state: of its checkpoint.
        episodes: over all tasks; every task gets the same number, at least one, rounded up.
        seed: of the environments; None: the run's seed + 1000003.

    Returns:
        As :func:`metarl_core.agents.evaluate`, and ``tasks``: of every held-out task its ``params``, the ``weights`` of
        the submodels, and ``return_mean``.
    """
    learner, test_tasks = _make_learner(config, _place(config))
    try:
        learner.load_state_dict(state["learner"])
        adapted = learner.adapt(test_tasks)
        seed = (config.seed + SEED_OFFSET) % 2**64 if seed is None else seed
        count = len(adapted.embeddings)
        returns, lengths = learner.play(adapted, episodes=-(-episodes // count), seed=seed)
    finally:
        learner.close()
    return {
        "episodes": int(returns.size),
        "seed": seed,
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_min": float(returns.min()),
        "return_max": float(returns.max()),
        "length_mean": float(lengths.mean()),
        "returns": returns.flatten().tolist(),
        "tasks": _described(adapted, returns),
        "step": int(state["step"]),
    }


def _described(adapted: Adapted, returns: NDArray[np.float64]) -> list[dict[str, Any]]:
    return [
        {
            "params": {name: float(values[i]) for name, values in adapted.tasks.items()},
            "weights": adapted.weights[:, i].tolist(),
            "return_mean": float(returns[i].mean()),
        }
        for i in range(len(returns))
    ]
