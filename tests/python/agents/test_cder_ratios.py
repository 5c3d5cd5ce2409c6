"""The n-step critic's importance ratios against a float64 computation from whole episodes."""

import numpy as np
import pytest
import torch

from metarl_core.agents import ConfigError
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.ratios import greedy_ratios, n_step_rho
from metarl_core.agents.common.nstep import NStepAssembler


@pytest.mark.parametrize("rho_max", [0.5, 1.0, 2.0, 100.0])
def test_rho_is_the_truncated_product(rho_max):
    rng = np.random.default_rng(0)
    k, b, n = 3, 50, 4
    ratios = rng.exponential(size=(k, b, n - 1)).astype(np.float32)
    lengths = rng.integers(n, size=b)
    got = n_step_rho(torch.from_numpy(ratios), torch.from_numpy(lengths), rho_max).numpy()
    for i in range(k):
        for j in range(b):
            expected = 1.0
            for value in ratios[i, j, : lengths[j]].astype(np.float64):
                expected *= min(rho_max, value)
            assert got[i, j] == pytest.approx(expected, rel=1e-5)


def test_over_one_step_rho_is_one():
    assert n_step_rho(torch.zeros(2, 5, 0), torch.zeros(5, dtype=torch.int64), 1.0).tolist() == [[1.0] * 5] * 2
    # What lies beyond the episode's end does not count, whatever is there.
    broken = torch.full((1, 2, 2), torch.nan)
    assert n_step_rho(broken, torch.tensor([0, 0]), 1.0).tolist() == [[1.0, 1.0]]


def test_ratios_are_of_each_heads_own_greedy_policy():
    q = torch.tensor([[[0.0, 1.0], [2.0, 1.0]], [[3.0, 1.0], [2.0, 1.0]]])
    got = greedy_ratios(q, torch.tensor([1, 0]), torch.tensor([0.25, 0.5]))
    assert got.tolist() == [[4.0, 2.0], [0.0, 2.0]]


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_path_of_a_transition_against_whole_episodes(n):
    rng = np.random.default_rng(n)
    num_envs = 3
    assembler = NStepAssembler(n, 0.9, num_envs, ("obs", "action", "mu"))
    episodes, emitted = {}, []
    episode, time = np.arange(num_envs) * 1000, np.zeros(num_envs, dtype=int)
    for step in range(150):
        obs = np.stack([episode, time], 1).astype(np.float32)
        action, mu = rng.integers(4, size=num_envs), rng.random(num_envs).astype(np.float32)
        kind = rng.choice(3, size=num_envs, p=[0.75, 0.15, 0.1])
        for env in range(num_envs):
            episodes.setdefault(int(episode[env]), []).append((obs[env], action[env], mu[env]))
        if step == 70:  # a checkpoint in the middle changes nothing
            state = assembler.state_dict()
            assembler = NStepAssembler(n, 0.9, num_envs, ("obs", "action", "mu"))
            assembler.load_state_dict(state)
        columns = {
            "obs": obs,
            "next_obs": obs + np.float32([0, 1]),
            "reward": np.ones(num_envs),
            "terminated": kind == 1,
        }
        ready = assembler.push({**columns, "action": action, "mu": mu}, kind > 0)
        if ready is not None:
            emitted += [{name: column[i] for name, column in ready.items()} for i in range(len(ready["obs"]))]
        time, episode = np.where(kind > 0, 0, time + 1), np.where(kind > 0, episode + 1, episode)
    assert len(emitted) > 300
    shorter = 0
    for row in emitted:
        steps = episodes[int(row["obs"][0])]
        t = int(row["obs"][1])
        rest = steps[t + 1 : t + n]
        assert row["path_obs"].shape == (n - 1, 2)
        assert row["path_length"] == len(rest)
        shorter += len(rest) < n - 1
        for i, (obs, action, mu) in enumerate(rest):
            np.testing.assert_array_equal(row["path_obs"][i], obs)
            assert (row["path_action"][i], row["path_mu"][i]) == (action, mu)
        assert not row["path_mu"][len(rest) :].any()
    assert shorter > 30


@pytest.mark.parametrize("options", [{}, {"n_step": 3}, {"critic_n_step": True}])
def test_ratios_need_an_n_step_critic(options):
    with pytest.raises(ConfigError, match=r"importance_ratios='truncated': needs critic_n_step=True and n_step > 1"):
        CderConfig(importance_ratios="truncated", **options)


def test_expected_update_equals_the_on_policy_one():
    """E_mu[rho f] = E_pi[f]: with rho unbounded, the weighted n-step return has the target policy's expectation."""
    rng = np.random.default_rng(1)
    pi, mu = np.array([0.0, 1.0, 0.0]), np.array([0.2, 0.3, 0.5])  # greedy target, any behaviour
    rewards = np.array([[1.0, -2.0, 0.5], [0.3, 4.0, -1.0]])  # of the two steps after the first, by action
    actions = rng.choice(3, size=(200_000, 2), p=mu)
    q = torch.tensor([0.0, 1.0, 0.0]).expand(1, actions.size, 3)
    probabilities = torch.from_numpy(mu.astype(np.float32))[torch.from_numpy(actions.reshape(-1))]
    ratios = greedy_ratios(q, torch.from_numpy(actions.reshape(-1)), probabilities).view(1, len(actions), 2)
    rho = n_step_rho(ratios, torch.full((len(actions),), 2), 1e9)[0].numpy()
    values = rewards[0, actions[:, 0]] + 0.9 * rewards[1, actions[:, 1]]
    expected = pi @ rewards[0] + 0.9 * (pi @ rewards[1])
    weighted = rho * values
    assert abs(weighted.mean() - expected) < 5 * weighted.std() / len(values) ** 0.5
    assert abs(values.mean() - expected) > 0.5
