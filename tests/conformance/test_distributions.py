"""Random starts and random dynamics drawn by our own generator have the reference's distributions."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import metarl_core

SAMPLES = 100_000


def uniform_distance(x, low, high):
    """Kolmogorov-Smirnov statistic against U[low, high), times sqrt(n); 1.95 is exceeded with probability 0.001."""
    u = np.sort((x - low) / (high - low))
    n = len(u)
    assert u[0] >= 0
    assert u[-1] <= 1
    return max(np.max(np.arange(1, n + 1) / n - u), np.max(u - np.arange(n) / n)) * np.sqrt(n)


def normal_cdf(x):
    from math import erf

    return np.array([0.5 * (1 + erf(v / np.sqrt(2))) for v in x])


def chi_square(observed, expected):
    """Statistic over degrees of freedom, as a z-score (Wilson and Hilferty)."""
    freedom = len(observed) - 1
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / np.sqrt(2 / (9 * freedom))


@pytest.mark.parametrize(
    ("env_id", "bounds"),
    [
        ("CartPole-v1", [(-0.05, 0.05)] * 4),
        ("MountainCar-v0", [(-0.6, -0.4), None]),
        ("Acrobot-v1", [(-0.1, 0.1)] * 4),
        ("Pendulum-v1", [(-np.pi, np.pi), (-1.0, 1.0)]),
    ],
)
@pytest.mark.parametrize("how", ["across environments", "across episodes"])
def test_starts_are_uniform(env_id, bounds, how):
    if how == "across environments":
        envs = metarl_core.make_vec(env_id, SAMPLES)
        envs.reset(seed=123)
        starts = envs.get_state()["state"]
    else:
        envs = metarl_core.make_vec(env_id, 100)
        envs.reset(seed=9)
        starts = np.concatenate([envs.get_state()["state"] for _ in range(SAMPLES // 100) if envs.reset()])
    for column, bound in enumerate(bounds):
        if bound is None:
            assert (starts[:, column] == 0).all()
        else:
            distance = uniform_distance(starts[:, column], *bound)
            print(f"{env_id} {how}, field {column}: KS sqrt(n) D = {distance:.2f}")
            assert distance < 1.95
    used = [c for c, b in enumerate(bounds) if b is not None]
    if len(used) > 1:
        correlation = np.corrcoef(starts[:, used].T)
        assert np.abs(correlation - np.eye(len(used))).max() < 4 / np.sqrt(SAMPLES)
    # Neighbouring streams or episodes are independent.
    assert abs(np.corrcoef(starts[1:, 0], starts[:-1, 0])[0, 1]) < 4 / np.sqrt(SAMPLES)


def test_frozen_lake_starts_are_uniform_over_start_cells():
    envs = metarl_core.make_vec("FrozenLake-v1", SAMPLES, desc=["SFSF", "HFFS", "FGFS"])
    obs, _ = envs.reset(seed=5)
    cells, counts = np.unique(obs, return_counts=True)
    assert cells.tolist() == [0, 2, 7, 11]
    z = chi_square(counts, np.full(4, SAMPLES / 4))
    print(f"FrozenLake starts: z = {z:.2f}")
    assert abs(z) < 3.3


@pytest.mark.parametrize("success_rate", [1 / 3, 0.8])
def test_frozen_lake_slips_per_state_and_action(success_rate):
    reference = gymnasium.make("FrozenLake-v1", success_rate=success_rate).unwrapped
    rows = 20_000
    envs = metarl_core.make_vec("FrozenLake-v1", rows, autoreset_mode="disabled", success_rate=success_rate)
    envs.reset(seed=2)
    scores = []
    for state in range(16):
        for action in range(4):
            envs.set_state({"state": np.full((rows, 1), float(state)), "done": np.zeros(rows, bool)})
            obs, reward, terminated, _, info = envs.step(np.full(rows, action))
            expected: dict[int, float] = {}
            for probability, following, _, _ in reference.P[state][action]:
                expected[following] = expected.get(following, 0.0) + probability
            assert set(np.unique(obs)) == {s for s, p in expected.items() if p > 0}
            outcomes = {following: (r, t) for _, following, r, t in reference.P[state][action]}
            np.testing.assert_array_equal(reward, [outcomes[s][0] for s in obs])
            np.testing.assert_array_equal(terminated, [outcomes[s][1] for s in obs])
            assert set(np.round(info["prob"], 12)) <= {round(p, 12) for p, *_ in reference.P[state][action]}
            if len(expected) > 1:
                counts = np.array([(obs == s).sum() for s in expected])
                scores.append(chi_square(counts, np.array(list(expected.values())) * rows))
    print(f"FrozenLake slips, {len(scores)} (s, a) pairs: largest z = {max(scores):.2f}, mean {np.mean(scores):.2f}")
    assert max(scores) < 4.5
    assert abs(np.mean(scores)) < 4 / np.sqrt(len(scores))


def test_stochastic_deep_sea_noise_and_wind():
    size, rows = 5, SAMPLES
    envs = metarl_core.make_vec(
        "DeepSea-v0", rows, size=size, deterministic=False, randomize_actions=False, autoreset_mode="disabled"
    )
    envs.reset(seed=8)
    fields = np.zeros((rows, 5))
    fields[:, 0], fields[:, 1] = 2, 1
    envs.set_state({"state": fields})
    envs.step(np.ones(rows, np.int64))
    failed = float((envs.get_state()["state"][:, 1] == 1).mean())
    z = (failed - 1 / size) / np.sqrt(1 / size * (1 - 1 / size) / rows)
    print(f"DeepSea right moves that fail: {failed:.4f}, z = {z:.2f}")
    assert abs(z) < 3.3
    for column, base in ((0, 0.0), (size - 1, 1.0)):
        fields[:, 0], fields[:, 1] = size - 1, column
        envs.set_state({"state": fields, "done": np.zeros(rows, bool)})
        reward = envs.step(np.ones(rows, np.int64))[1]
        noise = np.sort(reward - base + 0.01 / size)
        cdf = normal_cdf(noise)
        distance = max(np.max(np.arange(1, rows + 1) / rows - cdf), np.max(cdf - np.arange(rows) / rows)) * np.sqrt(
            rows
        )
        print(f"DeepSea noise in column {column}: KS sqrt(n) D = {distance:.2f}, std {noise.std():.4f}")
        assert distance < 1.95
