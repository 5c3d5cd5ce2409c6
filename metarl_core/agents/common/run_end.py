"""When a run ends, and what its result says: the same for our loop and for those of other libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metarl_core.agents.common.tracking import EpisodeTracker

if TYPE_CHECKING:
    from metarl_core.agents.config import RunConfig

__all__ = ["last_good_checkpoint", "reached_end", "result_of"]


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
