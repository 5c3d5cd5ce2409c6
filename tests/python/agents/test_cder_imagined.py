"""Step 6 as typed: the rows ((s, a, y), (s', a', r + r')), their cap, eviction, weights and priorities."""

import numpy as np
import pytest
import torch

from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.imagined import imagined_errors
from metarl_core.agents.cder.learner import CderAgent

B, D, A = 32, 4, 3
COLUMNS = ("obs", "action", "target", "next_obs", "candidate", "candidate_return")


def make_agent(**options):
    settings = {"members": 2, "signal_members": 1, "hidden": (8,), "signal_hidden": (8,), "atoms": 11, "batch_size": B}
    settings |= {"imagined": True, "n_step": 1, "replay_capacity": 300, "lr": 1e-3}
    return CderAgent(CderConfig.from_preset("as_written", **{**settings, **options}), D, A, num_envs=2, seed=0)


def make_batch(seed, terminated=0.2):
    g = torch.Generator().manual_seed(seed)
    batch = {
        "obs": torch.randn(B, D, generator=g),
        "next_obs": torch.randn(B, D, generator=g),
        "action": torch.randint(A, (B,), generator=g),
        "reward": torch.rand(B, generator=g),
        "terminated": (torch.rand(B, generator=g) < terminated).float(),
    }
    return batch, torch.full((B,), 1 / B)


def stored(agent):
    """All imagined rows, oldest first as far as the ring has not wrapped."""
    batch = agent.imagined.replay.sample(4000, mode="uniform")
    order = {int(slot): i for i, slot in enumerate(batch.indices)}
    return {name: np.stack([batch[name][i] for _, i in sorted(order.items())]) for name in COLUMNS}


def test_the_rows_hold_what_step_6_says():
    agent = make_agent(epsilon_start=0.0, epsilon_end=0.0, behaviour="ucb", ucb_c=0.0)
    batch, weights = make_batch(0)
    q_next = agent.critic(batch["next_obs"]).detach()
    target = agent.critic.target(batch["next_obs"]).detach()
    beta = agent.bonus(batch["next_obs"])
    chosen = q_next.argmax(dim=2, keepdim=True)
    bootstrap = target.gather(2, chosen).squeeze(2)
    # r~ = beta (step 2), beta once more (step 6), gamma Q' unless terminated.
    y = 2 * beta + 0.99 * (1 - batch["terminated"]) * bootstrap
    agent.begin_learning(0.4, stored=10_000)
    agent.learn(batch, weights, step=0, collect=True)
    rows = agent._new_rows
    assert len(agent.imagined) == agent.imagined.rows_per_step == round(B * 0.25 / 0.75) == 11
    kept = stored(agent)
    assert len(kept["action"]) == 11
    position = {tuple(row): i for i, row in enumerate(batch["obs"].numpy())}
    for i in range(11):
        j = position[tuple(kept["obs"][i])]
        np.testing.assert_array_equal(kept["next_obs"][i], batch["next_obs"][j])
        assert kept["action"][i] == batch["action"][j]
        assert kept["candidate"][i] == q_next.mean(dim=0)[j].argmax()
        np.testing.assert_allclose(kept["target"][i], y[:, j], rtol=1e-5, atol=1e-6)
        assert kept["candidate_return"][i] == pytest.approx(float(batch["reward"][j] + beta[j]), abs=1e-6)
    assert len({tuple(row) for row in rows["obs"].numpy()}) == 11  # without replacement


def test_errors_of_both_parts_against_numpy():
    rng = np.random.default_rng(0)
    q, following = rng.normal(size=(2, 3, 5, A)).astype(np.float32)
    rows = {
        "action": rng.integers(A, size=5),
        "candidate": rng.integers(A, size=5),
        "target": rng.normal(size=(5, 3)).astype(np.float32),
        "candidate_return": rng.normal(size=5).astype(np.float32),
    }
    tensors = {name: torch.from_numpy(value) for name, value in rows.items()}
    got = imagined_errors(torch.from_numpy(q), torch.from_numpy(following), tensors).numpy()
    for k in range(3):
        for j in range(5):
            assert got[0, k, j] == pytest.approx(q[k, j, rows["action"][j]] - rows["target"][j, k], abs=1e-6)
            expected = following[k, j, rows["candidate"][j]] - rows["candidate_return"][j]
            assert got[1, k, j] == pytest.approx(expected, abs=1e-6)


def test_the_loss_is_a_mixture_by_weight():
    agent = make_agent(double_normalization=False)
    plain = make_agent(imagined=False, double_normalization=False)
    agent.begin_learning(0.4, stored=10_000)
    batch, weights = make_batch(1)
    agent.losses(batch, weights, collect=True)
    real = agent.stats["loss"]
    plain.losses(batch, weights, collect=True)
    assert real == pytest.approx(plain.stats["loss"], rel=1e-6)  # no imagined rows yet
    agent.imagined.add(agent._new_rows, 10_000, 0.25)
    agent.losses(batch, weights, collect=True)
    mixed = agent.stats["loss"]
    drawn, errors = agent._drawn
    delta = imagined_errors(
        agent.critic(torch.from_numpy(drawn["obs"])),
        agent.critic(torch.from_numpy(drawn["next_obs"])),
        {name: torch.from_numpy(drawn[name]) for name in ("action", "candidate", "target", "candidate_return")},
    )
    np.testing.assert_allclose(errors, delta.abs().mean(dim=(0, 1)).detach(), rtol=1e-5)
    assert drawn.weights.sum() == pytest.approx(1, abs=1e-5)
    imagined = float((delta.square().mean(0).sum(0) * torch.from_numpy(drawn.weights)).sum().detach())
    assert mixed == pytest.approx(0.75 * real + 0.25 * imagined, rel=1e-4)


def test_the_imagined_rows_stay_below_their_share_and_overwrite_themselves():
    agent = make_agent(replay_capacity=90)
    assert agent.imagined.replay.capacity == 30
    first = None
    for step in range(12):
        real = min(90, 8 * (step + 1))
        agent.begin_learning(0.4, stored=real)
        agent.learn(*make_batch(step), step=step, collect=False)
        held = len(agent.imagined)
        assert held <= 0.25 * (real + held) + 1e-9
        if step == 3:
            first = stored(agent)["obs"]
    assert len(agent.imagined) == 30
    now = {tuple(row) for row in stored(agent)["obs"]}
    assert not now & {tuple(row) for row in first}


def test_priorities_of_imagined_rows_follow_their_errors():
    agent = make_agent()
    agent.begin_learning(0.4, stored=10_000)
    agent.learn(*make_batch(0), step=0, collect=False)
    agent.imagined.add(agent._new_rows, 10_000, 0.25)
    agent.losses(*make_batch(0), collect=False)
    drawn, errors = agent._drawn
    agent.imagined.update(drawn, errors)
    last = {int(slot): float(error) for slot, error in zip(drawn.indices, errors, strict=True)}
    priorities = np.asarray(agent.imagined.replay.priorities())
    for slot, error in last.items():
        assert priorities[slot] == pytest.approx(max(error, 1e-3), rel=1e-4)
