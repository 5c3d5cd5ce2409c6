"""The behaviour policies, the probabilities mu they report, and the distilled pi."""

import numpy as np
import pytest
import torch

from metarl_core.agents import ConfigError
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.learner import CderAgent
from metarl_core.agents.cder.policy import BehaviourPolicy, distillation_loss, sample_rows

N, A, K = 20_000, 3, 4


def make_policy(**options):
    config = CderConfig(members=K, **options)
    return BehaviourPolicy(config, A, N, np.random.default_rng(0))


@pytest.fixture
def q():
    return torch.randn(K, 1, A, generator=torch.Generator().manual_seed(3)).expand(K, N, A)


def frequencies(actions):
    return np.bincount(actions, minlength=A) / len(actions)


def check_mu(policy, actions, expected):
    """mu is the probability of the action taken, and the actions come with these probabilities."""
    np.testing.assert_allclose(policy.mu, np.asarray(expected)[actions], rtol=1e-5)
    spread = np.sqrt(np.asarray(expected) * (1 - np.asarray(expected)) / N)
    assert (np.abs(frequencies(actions) - expected) <= 4.5 * spread + 1e-12).all()


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_epsilon_greedy_follows_the_mean(q, epsilon):
    policy = make_policy(behaviour="epsilon_greedy", epsilon_start=max(epsilon, 1e-9), epsilon_end=epsilon)
    expected = np.full(A, epsilon / A)
    expected[int(q[:, 0].mean(0).argmax())] += 1 - epsilon
    check_mu(policy, policy(q, 10_000_000), expected)


def test_ucb_reports_its_probabilities(q):
    policy = make_policy(behaviour="ucb", ucb_c=2.0, epsilon_start=0.2, epsilon_end=0.2)
    values = q[:, 0].numpy()
    expected = np.full(A, 0.2 / A)
    expected[(values.mean(0) + 2 * values.std(0)).argmax()] += 0.8
    check_mu(policy, policy(q, 0), expected)


def test_thompson_reports_the_probability_under_the_head_in_use(q):
    policy = make_policy(epsilon_start=0.3, epsilon_end=0.3)
    actions = policy(q, 0)
    own = q[:, 0].argmax(1).numpy()[policy.heads]
    np.testing.assert_allclose(policy.mu, np.where(actions == own, 0.8, 0.1), rtol=1e-5)


def test_optimism_is_added_to_the_head_in_use(q):
    policy = make_policy(behaviour="optimistic_thompson", ucb_c=3.0, epsilon_start=0.3, epsilon_end=0.3)
    actions = policy(q, 0)
    values = q[:, 0].numpy()
    own = (values + 3.0 * values.std(0)).argmax(1)
    assert (own != values.argmax(1)).any()
    np.testing.assert_allclose(policy.mu, np.where(actions == own[policy.heads], 0.8, 0.1), rtol=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, 0.5])
def test_distilled_actions_are_drawn_from_pi(q, epsilon):
    policy = make_policy(behaviour="distilled", epsilon_start=epsilon, epsilon_end=epsilon)
    logits = torch.tensor([[0.0, 1.0, -1.0]]).expand(N, A)
    pi = np.exp([0.0, 1.0, -1.0]) / np.exp([0.0, 1.0, -1.0]).sum()
    check_mu(policy, policy(q, 0, logits), (1 - epsilon) * pi + epsilon / A)


@pytest.mark.parametrize("kind", ["thompson", "optimistic_thompson", "ucb", "epsilon_greedy", "distilled"])
def test_candidates_come_from_the_same_policy(q, kind):
    policy = make_policy(behaviour=kind, epsilon_start=0.25, epsilon_end=0.25, ucb_c=1.0)
    logits = torch.tensor([[0.0, 1.0, -1.0]]).expand(N, A)
    values = q[:, 0].numpy()
    base = {
        "thompson": np.bincount(values.argmax(1), minlength=A) / K,
        "optimistic_thompson": np.bincount((values + values.std(0)).argmax(1), minlength=A) / K,
        "ucb": np.eye(A)[(values.mean(0) + values.std(0)).argmax()],
        "epsilon_greedy": np.eye(A)[values.mean(0).argmax()],
        "distilled": np.exp([0.0, 1.0, -1.0]) / np.exp([0.0, 1.0, -1.0]).sum(),
    }[kind]
    expected = 0.75 * base + 0.25 / A
    actions = policy.candidates(q, 0, np.random.default_rng(1), logits)
    assert (np.abs(frequencies(actions) - expected) < 4.5 * np.sqrt(0.25 / N)).all()


def test_rows_without_mass_are_never_drawn():
    p = np.tile([0.0, 0.5, 0.0, 0.5, 0.0], (5000, 1))
    drawn = sample_rows(p, np.random.default_rng(0))
    assert set(drawn) == {1, 3}
    assert abs((drawn == 1).mean() - 0.5) < 0.04

    class Last:
        def random(self, n):
            return np.full(n, np.nextafter(1.0, 0.0))

    assert set(sample_rows(p, Last())) == {3}
    assert set(sample_rows(np.tile([0.1] * 10, (3, 1)), Last())) == {9}


def test_distillation_loss_against_numpy():
    rng = np.random.default_rng(0)
    logits, q = rng.normal(size=(7, A)), rng.normal(size=(K, 7, A))
    weights = rng.random(7)
    z = q.mean(0) / 0.3
    teacher = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    log_pi = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -(teacher * log_pi).sum(1) @ weights
    got = distillation_loss(*(torch.from_numpy(x) for x in (logits, q)), 0.3, torch.from_numpy(weights))
    assert float(got) == pytest.approx(expected, rel=1e-10)


def test_the_distilled_policy_comes_to_softmax_of_q():
    """With a frozen critic, pi converges to softmax(mean Q / T)."""
    config = CderConfig(
        behaviour="distilled",
        temperature=0.5,
        policy_lr=0.02,
        optimizer="adam",
        lr=1e-12,
        signal_lr=1e-12,
        hidden=(16,),
    )
    agent = CderAgent(config, 4, A, num_envs=2, seed=0)
    x = torch.eye(4)
    batch = {
        "obs": x,
        "next_obs": x,
        "action": torch.tensor([0, 1, 2, 0]),
        "reward": torch.zeros(4),
        "terminated": torch.zeros(4),
        "mask": torch.ones(4, config.members, dtype=torch.uint8),
    }
    for step in range(400):
        agent.learn(batch, torch.full((4,), 0.25), step, collect=step == 399)
    wanted = torch.softmax(agent.critic(x).mean(0) / 0.5, dim=1).detach()
    assert torch.allclose(torch.softmax(agent.pi(x)[0], dim=1), wanted, atol=0.03)
    entropy = float(-(wanted * wanted.log()).sum(1).mean())
    assert agent.stats["policy_loss"] == pytest.approx(entropy, abs=0.01)


def test_epsilon_greedy_without_epsilon_is_refused():
    with pytest.raises(ConfigError, match="behaviour='epsilon_greedy': needs epsilon_start > 0"):
        CderConfig(behaviour="epsilon_greedy")
