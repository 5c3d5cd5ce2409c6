"""Steps 1 to 3 of CDER against float64 NumPy."""

import numpy as np
import pytest
import torch

from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.signal import (
    SignalModule,
    categorical_moments,
    return_target,
    shaped_reward,
    total_variance,
    two_hot,
)


def two_hot_oracle(values, z_min, z_max, num_atoms):
    """Dense two-hot distributions, by interpolation between neighbouring atoms."""
    atoms = np.linspace(z_min, z_max, num_atoms)
    rows = np.zeros((len(values), num_atoms))
    for row, value in zip(rows, np.clip(values, z_min, z_max), strict=True):
        upper = min(max(int(np.searchsorted(atoms, value, side="right")), 1), num_atoms - 1)
        share = (value - atoms[upper - 1]) / (atoms[upper] - atoms[upper - 1])
        row[upper - 1], row[upper] = 1 - share, share
    return rows, atoms


@pytest.mark.parametrize(("z_min", "z_max", "num_atoms"), [(-1, 1, 51), (-100, 0, 101), (0, 7.5, 2), (-3, 8, 12)])
def test_two_hot_agrees_with_the_oracle(z_min, z_max, num_atoms):
    rng = np.random.default_rng(1)
    width = z_max - z_min
    values = np.concatenate(
        [rng.uniform(z_min - width, z_max + width, 500), np.linspace(z_min, z_max, num_atoms), [z_min, z_max]]
    ).astype(np.float32)
    lower, upper_weight, clipped = two_hot(torch.from_numpy(values), z_min, z_max, num_atoms)
    dense = np.zeros((len(values), num_atoms))
    np.add.at(dense, (np.arange(len(values)), lower.numpy()), 1 - upper_weight.numpy().astype(np.float64))
    np.add.at(dense, (np.arange(len(values)), lower.numpy() + 1), upper_weight.numpy().astype(np.float64))
    expected, atoms = two_hot_oracle(values.astype(np.float64), z_min, z_max, num_atoms)
    # Compared by expectation and mass near the value: exactly on an atom either neighbour pair is right.
    np.testing.assert_allclose(dense @ atoms, np.clip(values, z_min, z_max), atol=3e-6 * width)
    np.testing.assert_allclose(dense, expected, atol=3e-5)
    np.testing.assert_allclose(dense.sum(axis=1), 1, atol=1e-6)
    outside = int(((values < z_min - 1e-5 * width) | (values > z_max + 1e-5 * width)).sum())
    assert outside <= int(clipped) <= outside + 2


def test_moments_and_the_law_of_total_variance():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(4, 30, 51)) * 3
    atoms = np.linspace(-2, 5, 51)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    mean = p @ atoms
    variance = (p * (atoms - mean[..., None]) ** 2).sum(-1)
    got_mean, got_variance = categorical_moments(
        torch.tensor(logits, dtype=torch.float32), torch.tensor(atoms, dtype=torch.float32)
    )
    np.testing.assert_allclose(got_mean, mean, atol=5e-6)
    np.testing.assert_allclose(got_variance, variance, atol=3e-5)
    aleatoric, epistemic = total_variance(got_mean, got_variance)
    # The variance of the equal mixture of the members' distributions.
    mixture = p.mean(0)
    centre = mixture @ atoms
    total = (mixture * (atoms - centre[..., None]) ** 2).sum(-1)
    np.testing.assert_allclose(aleatoric + epistemic, total, atol=5e-5)
    assert float(epistemic.min()) > 0


def test_moments_of_a_certain_outcome_have_no_variance():
    logits = torch.full((1, 1, 101), -200.0)
    logits[..., 90] = 200.0
    mean, variance = categorical_moments(logits, torch.linspace(-100, 0, 101))
    assert float(mean) == pytest.approx(-10, abs=1e-4)
    assert 0 <= float(variance) < 1e-3


def test_shaped_reward():
    rng = np.random.default_rng(3)
    r, phi, next_phi, bonus = rng.normal(size=(4, 6)).astype(np.float32)
    terminated = np.array([0, 1, 0, 1, 0, 0], dtype=np.float32)
    alive = (1 - terminated).astype(np.float32)
    got = shaped_reward(*map(torch.from_numpy, (r, np.float32(0.9) * alive, phi, next_phi, bonus * alive)), kappa=0.3)
    for i in range(6):
        expected = r[i] + 0.9 * next_phi[i] - phi[i] + 0.3 * bonus[i] if terminated[i] == 0 else r[i] - phi[i]
        assert float(got[i]) == pytest.approx(float(expected), abs=1e-6)


def test_shaping_telescopes_along_an_episode():
    """The shaped return differs from the raw one by -Phi(s_0) alone when the episode terminates."""
    rng = np.random.default_rng(4)
    gamma, n = 0.97, 12
    phi = torch.tensor(rng.normal(size=n + 1), dtype=torch.float64)
    reward = torch.tensor(rng.normal(size=n), dtype=torch.float64)
    discount = torch.full((n,), gamma, dtype=torch.float64)
    discount[-1] = 0
    shaped = shaped_reward(reward, discount, phi[:-1], phi[1:], torch.zeros(n, dtype=torch.float64), 0.0)
    discounts = gamma ** torch.arange(n, dtype=torch.float64)
    assert float((discounts * shaped).sum()) == pytest.approx(float((discounts * reward).sum() - phi[0]), abs=1e-12)


def test_return_target():
    got = return_target(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0]), torch.tensor([[4.0, 4.0], [6.0, 6.0]]))
    np.testing.assert_allclose(got, [[3, 2], [4, 2]])


@pytest.fixture
def module(generator):
    config = CderConfig(
        signal_members=3, signal_hidden=(16,), atoms=21, z_min=-2, z_max=2, signal_polyak=0.1, signal_prior_scale=8.0
    )
    return SignalModule(5, config, generator)


def test_the_loss_is_the_weighted_cross_entropy(module):
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    returns = torch.linspace(-3, 3, 7)
    weights = torch.rand(7, generator=torch.Generator().manual_seed(2))
    prior = module.prior(x)
    loss, clipped = module.loss(x, prior, returns, weights)
    logits = (module.online(x) + prior).detach().numpy().astype(np.float64)
    dense, _ = two_hot_oracle(returns.numpy().astype(np.float64), -2, 2, 21)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -(weights.numpy() * (dense * log_p).sum(-1)).sum()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert float(clipped) == pytest.approx(2 / 7)


def test_learning_reduces_disagreement_where_there_is_data_only(module):
    seen, unseen = torch.eye(5)[:2], torch.eye(5)[3:]
    both = torch.cat((seen, unseen))
    before = module.summary(both, module.prior(both)).epistemic
    optimizer = torch.optim.Adam(module.online.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        loss, _ = module.loss(seen, module.prior(seen), torch.tensor([0.5, -1.0]), torch.full((2,), 0.5))
        loss.backward()
        optimizer.step()
        module.update_target()
    summary = module.summary(both, module.prior(both))
    assert float(summary.epistemic[:2].max()) < 0.1 * float(before.min())
    assert float(summary.epistemic[2:].min()) > 3 * float(summary.epistemic[:2].max())
    np.testing.assert_allclose(summary.phi[:2], [0.5, -1.0], atol=0.05)


def test_the_slow_copy_follows_slowly_and_the_prior_never_moves(module):
    x = torch.eye(5)
    prior = module.prior(x).clone()
    start = [p.clone() for p in module.target.parameters()]
    with torch.no_grad():
        for p in module.online.parameters():
            p += 1
    module.update_target()
    for old, new in zip(start, module.target.parameters(), strict=True):
        torch.testing.assert_close(new - old, torch.full_like(old, 0.1), atol=1e-6, rtol=1e-5)
    assert torch.equal(module.prior(x), prior)
    assert not any(p.requires_grad for p in module.prior_net.parameters())
