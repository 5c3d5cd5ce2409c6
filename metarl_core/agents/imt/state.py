"""A learner as plain values, so that one restored from them goes on bit for bit, and the way back."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from metarl_core.agents.common.learner import restore_rng, rng_state
from metarl_core.agents.imt.averaging import RoundWeights
from metarl_core.agents.imt.outcomes import Round
from metarl_core.errors import CheckpointMismatchError

if TYPE_CHECKING:
    from metarl_core.agents.imt.learner import ImtLearner

__all__ = ["kept_state", "learner_state", "restore_kept", "restore_learner", "round_state"]


def kept_state(learner: ImtLearner) -> dict[str, Any]:
    """What acts on new tasks, as it is after a round."""
    return {
        "models": {name: value.detach().clone() for name, value in learner.models.state_dict().items()},
        "task_embeddings": learner.task_embeddings.copy(),
        "accuracy": learner.accuracy.copy(),
    }


def restore_kept(learner: ImtLearner, state: Mapping[str, Any]) -> None:
    """Put back what :func:`kept_state` found."""
    learner.models.load_state_dict(state["models"])
    learner.task_embeddings = np.array(state["task_embeddings"])
    learner.accuracy = np.array(state["accuracy"])


def learner_state(learner: ImtLearner) -> dict[str, Any]:
    """All that later rounds depend on, between two rounds.

    Optimisers are none of it: those of a round begin and end with it. Neither are the reference transitions, which a
    learner of the same arguments has; their checksum is.
    """
    stopping = learner.stopping
    return {
        "reference": _fingerprint(learner),
        **kept_state(learner),
        "best": learner.best,
        "embedding": None if learner.embedding is None else learner.embedding.state_dict(),
        "known": learner._known.copy(),
        "pretrained": learner.pretrained,
        "updates": learner.updates,
        "rng": rng_state(learner.rng),
        "actors": [actors.state_dict() for actors in learner._all_actors()],
        "replay": learner.replay.state_dict(),
        "curiosity": None if learner.curiosity is None else learner.curiosity.state_dict(),
        "tuning_replay": None if learner.tuning_replay is learner.replay else learner.tuning_replay.state_dict(),
        "stopping": {"rounds": stopping.rounds, "best": stopping.best, "best_round": stopping.best_round},
        "rounds": [round_state(each) for each in learner.rounds],
    }


def restore_learner(learner: ImtLearner, state: Mapping[str, Any]) -> None:
    """Put a learner that was made with the same arguments where :func:`learner_state` found another.

    Raises:
        CheckpointMismatchError: its reference transitions are others. Nothing is changed then.
    """
    found = _fingerprint(learner)
    if int(state["reference"]) != found:
        raise CheckpointMismatchError(
            f"the state was made with other reference transitions (checksum {int(state['reference']):08x}, here "
            f"{found:08x}); make the learner with the same tasks, data, seed and options"
        )
    restore_kept(learner, state)
    learner.best = state["best"]
    if learner.embedding is not None:
        learner.embedding.load_state_dict(state["embedding"])
    learner._known = np.array(state["known"])
    learner.pretrained, learner.updates = bool(state["pretrained"]), int(state["updates"])
    restore_rng(learner.rng, state["rng"])
    for actors, own in zip(learner._all_actors(), state["actors"], strict=True):
        actors.load_state_dict(own)
    learner.replay.load_state_dict(state["replay"])
    if learner.curiosity is not None:
        learner.curiosity.load_state_dict(state["curiosity"])
    if learner.tuning_replay is not learner.replay:
        learner.tuning_replay.load_state_dict(state["tuning_replay"])
    stopping = state["stopping"]
    learner.stopping.rounds, learner.stopping.best_round = int(stopping["rounds"]), int(stopping["best_round"])
    learner.stopping.best = None if stopping["best"] is None else float(stopping["best"])
    learner.rounds = [_round(each) for each in state["rounds"]]


def round_state(done: Round) -> dict[str, Any]:
    """A round as a dict of numbers, arrays and texts."""
    return dataclasses.asdict(done)


def _round(values: Mapping[str, Any]) -> Round:
    return Round(**{**values, "weights": RoundWeights(**values["weights"])})


def _fingerprint(learner: ImtLearner) -> int:
    checksum = 0
    for batch in (learner.reference, learner.held_out):
        for column in (batch.obs, batch.action, batch.reward, batch.next_obs, batch.terminated):
            checksum = zlib.crc32(np.ascontiguousarray(column.cpu().numpy()).data, checksum)
    return checksum
