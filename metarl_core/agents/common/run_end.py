"""How a run goes on, when it ends, and what its result says: the same for all training loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from metarl_core.agents.common.restoring import restoring
from metarl_core.agents.common.tracking import EpisodeTracker

if TYPE_CHECKING:
    from metarl_core.agents.config import RunConfig
    from metarl_core.runs import RunWriter

__all__ = ["Resumable", "last_good_checkpoint", "reached_end", "result_of", "train_to_end"]


class Resumable(Protocol):
    """A training loop whose state is in the run's checkpoint."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""

    def train(self) -> dict[str, Any]:
        """Train to the end; what result.json holds."""
        ...


def train_to_end(trainer: Resumable, run: RunWriter, close: Callable[[], object]) -> dict[str, Any]:
    """Train, from the run's checkpoint if it has one, and close whatever happens.

    Raises:
        CheckpointMismatchError: the checkpoint holds something else.
    """
    try:
        state = run.load_checkpoint()
        if state is not None:
            with restoring(run.run_dir):
                trainer.load_state_dict(state)
        return trainer.train()
    finally:
        close()


def reached_end(config: RunConfig, step: int, tracker: EpisodeTracker) -> bool:
    """Whether a run has used its steps or its episodes, or has solved its task and is to stop then."""
    return (
        step >= config.total_steps
        or (config.max_episodes is not None and tracker.episodes >= config.max_episodes)
        or (config.stop_when_solved and bool(tracker.solved))
    )


def last_good_checkpoint(saved_step: int | None) -> str:
    """What is left of a run that diverged, for its error message."""
    return "no checkpoint yet" if saved_step is None else f"the last good checkpoint is of step {saved_step}"


def result_of(
    config: RunConfig, step: int, tracker: EpisodeTracker, wall_time: float, evaluation: float | None, interrupted: bool
) -> dict[str, Any]:
    """What result.json holds (docs/result-schema.md)."""
    return {
        "algorithm": config.algorithm,
        "environment": config.env_id,
        "environment_params": config.env_params,
        "seed": config.seed,
        "solved": tracker.solved,
        "episodes": tracker.episodes,
        "episodes_to_solve": tracker.episodes_to_solve,
        "environment_steps": step,
        "final_return": tracker.final_return,
        "best_return": tracker.best_return,
        "evaluation_return": evaluation,
        "wall_time_seconds": wall_time,
        "steps_per_second": step / wall_time if wall_time > 0 else None,
        "status": "interrupted" if interrupted else "finished",
    }
