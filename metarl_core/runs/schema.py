"""The fields of the files of a run directory: the writer checks against them, the documentation lists them."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "EPISODE_COLUMNS",
    "METRIC_COLUMNS",
    "RESULT_FIELDS",
    "SCHEMA_VERSION",
    "STATUSES",
    "ResultField",
    "validate_result",
]

SCHEMA_VERSION = 1
"""Version of the files of a run directory. It grows when a field changes its meaning or goes, not when one is added."""

STATUSES = ("finished", "interrupted")

METRIC_COLUMNS = (
    "step",
    "episodes",
    "wall_time",
    "return_mean",
    "return_max",
    "loss",
    "td_error_mean",
    "intrinsic_reward_mean",
    "aleatoric_std",
    "epistemic_std",
    "epsilon",
    "beta",
    "updates",
    "steps_per_second",
    "updates_per_second",
)
"""Columns that every row of metrics.jsonl and metrics.csv has; rows may add others after these."""

EPISODE_COLUMNS = ("episode", "step", "env", "return", "length", "bad_episode")
"""Columns of episodes.csv."""


class ResultField(NamedTuple):
    """One field of result.json."""

    kinds: tuple[type, ...]
    nullable: bool
    description: str


_INT, _NUMBER, _TEXT = (numbers.Integral,), (numbers.Real,), (str,)

RESULT_FIELDS: dict[str, ResultField] = {
    "schema_version": ResultField(_INT, False, "version of this schema"),
    "status": ResultField(_TEXT, False, "finished or interrupted"),
    "algorithm": ResultField(_TEXT, False, "name of the algorithm, as metarl train takes it"),
    "environment": ResultField(_TEXT, False, "id of the environment"),
    "environment_params": ResultField((Mapping,), False, "parameters of the environment that were set"),
    "seed": ResultField(_INT, False, "seed of the run"),
    "solved": ResultField((bool,), True, "the environment's solve rule was met; null where it has none"),
    "episodes": ResultField(_INT, False, "finished episodes, counted over all instances"),
    "episodes_to_solve": ResultField(_INT, True, "first episode at which the rule was met; null if never"),
    "environment_steps": ResultField(_INT, False, "environment steps, counted over all instances"),
    "final_return": ResultField(_NUMBER, True, "mean return of the last 100 training episodes; null before the first"),
    "best_return": ResultField(_NUMBER, True, "highest return of a training episode; null before the first"),
    "evaluation_return": ResultField(_NUMBER, True, "mean return of the evaluation episodes; null if not evaluated"),
    "wall_time_seconds": ResultField(_NUMBER, False, "time spent training, over all sittings of a resumed run"),
    "steps_per_second": ResultField(_NUMBER, True, "environment_steps / wall_time_seconds"),
    "versions": ResultField((Mapping,), False, "versions of metarl_core, Python, NumPy, torch, Gymnasium"),
}


def validate_result(result: Mapping[str, Any]) -> None:
    """Check a result against ``RESULT_FIELDS``. Further fields are allowed.

    Raises:
        ValueError: a field is missing, has the wrong type, or status is unknown; the message names the field.
    """
    missing = [name for name in RESULT_FIELDS if name not in result]
    if missing:
        raise ValueError(f"the result lacks {', '.join(missing)}")
    for name, field in RESULT_FIELDS.items():
        value = result[name]
        if value is None and field.nullable:
            continue
        kinds = (*field.kinds, np.bool_) if bool in field.kinds else field.kinds
        # bool is an int to Python; a seed of True is a mistake all the same.
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in field.kinds):
            expected = " or ".join(kind.__name__ for kind in field.kinds) + (" or None" if field.nullable else "")
            raise ValueError(f"result[{name!r}] is {value!r}; expected {expected}")
    if result["status"] not in STATUSES:
        raise ValueError(f"result['status'] is {result['status']!r}; expected one of {', '.join(STATUSES)}")
