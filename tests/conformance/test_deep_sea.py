"""DeepSea against bsuite's: mapping seeds, deterministic and stochastic dynamics, bookkeeping of bad episodes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from bsuite.environments import deep_sea

import metarl_core
from metarl_core.testing import Comparison

from .reference import RecordingGenerator

ROWS = 64


@pytest.mark.parametrize("size", [1, 2, 10, 20, 50])
@pytest.mark.parametrize("mapping_seed", [42, 0, 1, 2, 3, 2**32 - 1])
def test_mapping_seed_is_bsuites(size, mapping_seed):
    reference = deep_sea.DeepSea(size, mapping_seed=mapping_seed)
    envs = metarl_core.make_vec(
        "DeepSea-v0", size * size, size=size, mapping_seed=mapping_seed, autoreset_mode="disabled"
    )
    envs.reset(seed=0)
    # Every cell at once: the action that the reference's mapping names moves right.
    fields = np.zeros((size * size, 5))
    fields[:, 0], fields[:, 1] = np.divmod(np.arange(size * size), size)
    envs.set_state({"state": fields})
    envs.step(reference._action_mapping.ravel())
    expected = np.minimum(fields[:, 1] + 1, size - 1)
    np.testing.assert_array_equal(envs.get_state()["state"][:, 1], expected)


@pytest.mark.parametrize(
    ("params", "states"),
    [
        ({"size": 10}, 20_000),
        ({"size": 20, "mapping_seed": 3, "unscaled_move_cost": 0.5}, 30_000),
        ({"size": 5, "randomize_actions": False}, 20_000),
        ({"size": 10, "deterministic": False}, 20_000),
        ({"size": 3, "deterministic": False, "mapping_seed": 7}, 20_000),
    ],
    ids=["10", "20", "not randomised", "stochastic 10", "stochastic 3"],
)
def test_steps_equal_bsuites(params, states):
    compare(params, states)


@pytest.mark.slow
@pytest.mark.parametrize("deterministic", [True, False], ids=["deterministic", "stochastic"])
def test_a_million_steps_equal_bsuites(deterministic):
    compare({"size": 10, "deterministic": deterministic}, 1_000_000)


def compare(params, states, tasks=None):
    """Compare steps; `tasks`: parameters by row, name -> one value a row."""
    rng = np.random.default_rng(5)
    arguments = {"mapping_seed": 42, **params}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # bsuite warns of randomize_actions=False
        by_row = [{name: values[i].item() for name, values in (tasks or {}).items()} for i in range(ROWS)]
        references = [deep_sea.DeepSea(seed=i, **{**arguments, **by_row[i]}) for i in range(ROWS)]
    for reference in references:
        reference._rng = RecordingGenerator(reference._rng)
        reference.reset()
    deterministic = params.get("deterministic", True)
    envs = metarl_core.make_vec("DeepSea-v0", ROWS, **params)
    if tasks is not None:
        envs.set_tasks(tasks)
    envs.reset(seed=0)
    size, comparison = params["size"], Comparison()
    ended = np.zeros(ROWS, bool)
    while comparison.states < states:
        # Rows differ in how often they follow the path, so that some reach the treasure.
        right = np.array([r._action_mapping[r._row, r._column] if r._row < size else 0 for r in references])
        follow = rng.random(ROWS) < np.linspace(0.3, 1.0, ROWS)
        actions = np.where(follow, right, rng.integers(0, 2, ROWS)).astype(np.int64)
        steps, draws = [], np.zeros((ROWS, 2))
        bad_before = np.array([r._total_bad_episodes for r in references])
        for i, (reference, action) in enumerate(zip(references, actions, strict=True)):
            reference._rng.drawn.clear()
            steps.append(reference.step(int(action)))
            drawn = dict(reference._rng.drawn)
            draws[i] = drawn.get("randn", 0.0), drawn.get("rand", 1.0)
        if not deterministic:
            envs._core.set_draws(draws)
        obs, reward, terminated, truncated, _ = envs.step(actions)
        # bsuite resets in the step after the last, as NEXT_STEP does; its reward is None then.
        comparison.add(
            (envs.get_state()["state"][:, :2], obs, reward, terminated, truncated),
            (
                np.array([[r._row, r._column] for r in references], np.float64),
                np.array([s.observation for s in steps]),
                np.array([0.0 if s.reward is None else s.reward for s in steps]),
                np.array([s.last() for s in steps]),
                np.zeros(ROWS, bool),
            ),
        )
        np.testing.assert_array_equal(ended, [s.first() for s in steps])
        ended = terminated
        info = [r.bsuite_info() for r in references]
        np.testing.assert_array_equal(envs.bsuite_info()["total_bad_episodes"], [x["total_bad_episodes"] for x in info])
        np.testing.assert_array_equal(envs.bsuite_info()["denoised_return"], [x["denoised_return"] for x in info])
        bad_after = np.array([x["total_bad_episodes"] for x in info])
        np.testing.assert_array_equal(envs.bad_episode(), bad_after > bad_before)
    good = comparison.counts["terminated"] - sum(r._total_bad_episodes for r in references)
    comparison.check(f"DeepSea-v0 {params}{' by row' if tasks else ''}", states, 1e-13, ("terminated",))
    print(f"{good} good episodes")
    assert 0 < good < comparison.counts["terminated"]
