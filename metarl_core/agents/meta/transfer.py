"""Transfer: layers of a trained network on a new task, against a start from scratch with the same budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarl_core import stats
from metarl_core.agents.baselines.dqn import DoubleDQNConfig
from metarl_core.agents.common.options import ConfigError
from metarl_core.agents.meta.networks import layers_of, learner_from
from metarl_core.agents.meta.q_learner import QLearner
from metarl_core.agents.meta.sub_agents import SubAgent
from metarl_core.tasks import Task

__all__ = ["LAYERS", "TransferReport", "copy_layers", "half_way", "transfer"]

LAYERS = ("trunk", "all")
"""All layers but the last one, or all of them; a number takes so many from the first on."""

Array = NDArray[np.float64]
_MEASURES = ("jump_start", "asymptotic_gain", "auc_gain")


@dataclasses.dataclass(frozen=True, eq=False)
class TransferReport:
    """Learning on a new task after transfer, and from scratch.

    Attributes:
        layers: number of layers that were copied.
        freeze: whether they were left as they were.
        steps: environment steps on the new task before each point, int64 [P].
        curves: mean greedy return of each seed, float64 [N, P].
        scratch: the same of learners with the same seeds and budget that were given nothing, [N, P].
        threshold: return whose time is asked for.
        measures: Taylor and Stone's (2009), of each seed, [N] each.
    """

    layers: int
    freeze: bool
    steps: NDArray[np.int64]
    curves: Array
    scratch: Array
    threshold: float
    measures: stats.TransferReport

    def interval(self, measure: str, *, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0) -> Array:
        """Mean over the seeds of ``jump_start``, ``asymptotic_gain`` or ``auc_gain``, and both ends of its interval.

        Returns:
            float64 [3]: mean, low, high (percentile bootstrap over the seeds).

        Raises:
            ValueError: there is no such measure; times to the threshold may be infinite and have no mean.
        """
        if measure not in _MEASURES:
            raise ValueError(f"measure is {measure!r}; must be one of {', '.join(map(repr, _MEASURES))}")
        values = np.asarray(getattr(self.measures, measure))[:, None]
        low, high = stats.bootstrap_interval(stats.mean, values, resamples=resamples, confidence=confidence, seed=seed)
        return np.array([values.mean(), low, high])

    def rows(self, **options: Any) -> list[dict[str, Any]]:
        """The report as a table: one dict a measure.

        ``auc_gain`` is the difference of the mean heights of the curves. A time to the threshold is a median over the
        seeds, with inf for those that never came there, and ``reached`` counts those that did.

        Args:
            options: of :meth:`interval`.
        """
        found: list[dict[str, Any]] = []
        for measure in _MEASURES:
            mean, low, high = self.interval(measure, **options)
            found.append({"measure": measure, "value": float(mean), "low": float(low), "high": float(high)})
        for measure in ("time_to_threshold", "scratch_time_to_threshold"):
            times = np.asarray(getattr(self.measures, measure))
            reached = int(np.isfinite(times).sum())
            # Of two in the middle the lower one, by when half of them were there, as the report has it: the mean of a
            # finite and an infinite time would say nothing.
            median = float(np.sort(times)[(len(times) - 1) // 2])
            found.append({"measure": measure, "value": median, "reached": reached, "seeds": len(times)})
        return found

    def text(self, **options: Any) -> str:
        """The table as text, one measure a line."""
        frozen = "frozen" if self.freeze else "trained on"
        lines = [f"{self.layers} layers copied and {frozen}, {len(self.curves)} seeds, threshold {self.threshold:.4g}"]
        for row in self.rows(**options):
            name = row["measure"].replace("_", " ")
            if "low" in row:
                lines.append(f"{name:26} {row['value']:10.4g}  [{row['low']:.4g}, {row['high']:.4g}]")
            else:
                lines.append(f"{name:26} {row['value']:10.4g}  ({row['reached']} of {row['seeds']} seeds)")
        return "\n".join(lines)


def _count(layers: str | int, total: int) -> int:
    if layers in LAYERS:
        return total - 1 if layers == "trunk" else total
    if isinstance(layers, bool) or not isinstance(layers, (int, np.integer)) or not 1 <= layers <= total:
        raise ConfigError(
            f"layers={layers!r}: must be 'trunk', 'all' or a number in [1, {total}], the layers there are"
        )
    return int(layers)


@torch.no_grad()
def copy_layers(source: SubAgent, learner: QLearner, layers: str | int = "trunk", freeze: bool = False) -> int:
    """Copy the first layers of a network into a learner.

    Args:
        source: one network (Double DQN, a submodel of IMT).
        learner: to be changed.
        layers: ``trunk``, ``all`` or a number.
        freeze: take the copied layers out of what the learner trains.

    Returns:
        Number of layers that were copied.

    Raises:
        ConfigError: a layer has another shape, ``layers`` is no such number, or nothing would be left to train. Nothing
            is changed then.
    """
    own, given = layers_of(learner), layers_of(source)
    count = _count(layers, min(len(own), len(given)))
    if freeze and count == len(own):
        raise ConfigError(f"layers={layers!r}: with freeze=True nothing is left to train; copy fewer, or freeze=False")
    for number in range(count):
        shapes = [tuple(pair[number][0].shape) for pair in (given, own)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"layer {number + 1} of {source.name!r} has weights {shapes[0]}, that of {learner.name!r} {shapes[1]}; "
                "must be equal: give the learner the source's hidden widths and observations of the same size, or copy "
                "fewer layers"
            )
    for (weight, bias), (own_weight, own_bias) in zip(given[:count], own[:count], strict=True):
        own_weight.copy_(weight)
        own_bias.copy_(bias)
        own_weight.requires_grad_(not freeze)
        own_bias.requires_grad_(not freeze)
    learner.agent.critic.update_target()
    return count


def half_way(curves: Array, scratch: Array) -> float:
    """Return half way from the mean first point from scratch to the best mean point of both.

    Args:
        curves: of what was given something, float64 [N, P].
        scratch: of what was not, float64 [N, P].
    """
    start = scratch[:, 0].mean()
    return float(start + (max(curves.mean(axis=0).max(), scratch.mean(axis=0).max()) - start) / 2)


def transfer(
    source: SubAgent,
    destination: Task,
    *,
    layers: str | int = "trunk",
    freeze: bool = True,
    steps: int = 10_000,
    seeds: Sequence[int] = range(5),
    evaluate_every: int | None = None,
    episodes: int = 20,
    threshold: float | None = None,
    config: DoubleDQNConfig | None = None,
    watch: Callable[[int, str], None] = lambda *_: None,
) -> TransferReport:
    """Train Double DQN on a new task from a source's layers, and from scratch, with the same seeds and budget.

    Learner and scratch of one seed have the same initial weights, but for the copied layers, and meet the same
    environments; the source's own training is not part of the budget.

    Args:
        source: a trained network: a QLearner, a run of ddqn or ddqn-per (``SubAgent.from_run``), a submodel of IMT.
        destination: the new task.
        layers: ``trunk`` (all but the last), ``all``, or how many from the first on.
        freeze: leave the copied layers as they are.
        steps: environment steps on the new task.
        seeds: of the learners, at least one.
        evaluate_every: steps between two points of a curve; None: a tenth of ``steps``.
        episodes: greedy episodes of each point.
        threshold: return whose time is asked for; None: half way from the mean first point from scratch to the best
            mean point of both.
        config: of both learners; None: the source's options.
        watch: called before each training with the seed and ``"transfer"`` or ``"scratch"``.

    Raises:
        ConfigError: the source is no single network, its layers do not fit, or nothing would be left to train.
        ValueError: there is no seed, or a number is out of range.
    """
    seeds = [int(seed) for seed in seeds]
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds is {seeds}; must hold at least one, and each once")
    layers_of(source)
    if config is None:
        own = learner_from(source).q_config
        assert isinstance(own, DoubleDQNConfig)
        config = own
    every = max(steps // 10, 1) if evaluate_every is None else evaluate_every
    found: dict[str, list[Array]] = {"transfer": [], "scratch": []}
    places = np.zeros(0, dtype=np.int64)
    # The layers are checked before anything is trained.
    copied = copy_layers(source, QLearner(destination, config, levels=source.levels), layers, freeze)
    for seed in seeds:
        for kind, curves in found.items():
            learner = QLearner(destination, config, seed=seed, levels=source.levels, device=source.device)
            if kind == "transfer":
                copy_layers(source, learner, layers, freeze)
            watch(seed, kind)
            curve = learner.train(steps, evaluate_every=every, episodes=episodes)
            places = curve.steps
            curves.append(curve.returns)
    curves_, scratch = (np.stack(found[kind]) for kind in ("transfer", "scratch"))
    threshold = half_way(curves_, scratch) if threshold is None else threshold
    measures = stats.transfer_report(curves_, scratch, places, threshold=threshold)
    return TransferReport(copied, freeze, places, curves_, scratch, float(threshold), measures)
