"""Ensembles, priors, double-Q targets, aggregation."""

import numpy as np
import pytest
import torch

from metarl_core.agents.common.critic import CriticEnsemble, aggregate_actions, double_q_target
from metarl_core.agents.common.networks import EnsembleMLP


@pytest.mark.parametrize("hidden", [(8,), (8, 6), (4, 5, 6)])
def test_the_batched_ensemble_equals_a_loop_over_members(generator, hidden):
    net = EnsembleMLP(5, 7, hidden, 3, generator)
    x = torch.randn(11, 7, generator=generator)
    got = net(x)
    assert got.shape == (5, 11, 3)
    torch.testing.assert_close(got, torch.stack([net.member(e, x) for e in range(5)]), atol=1e-6, rtol=1e-5)


def test_gradients_of_members_do_not_mix(generator):
    net = EnsembleMLP(3, 4, (6, 6), 2, generator)
    net(torch.randn(5, 4, generator=generator))[1].sum().backward()
    first = net.weights[0].grad.view(4, 3, 6)
    assert first[:, 1].abs().sum() > 0
    assert first[:, 0].abs().sum() == 0
    assert first[:, 2].abs().sum() == 0
    assert net.weights[1].grad[0].abs().sum() == 0
    assert net.weights[1].grad[1].abs().sum() > 0


def test_members_start_different(generator):
    out = EnsembleMLP(4, 3, (8,), 2, generator)(torch.ones(1, 3)).detach()
    assert len(set(out[:, 0, 0].tolist())) == 4


def test_one_hot_indices_are_the_same_function_with_the_same_gradient(generator):
    dense = EnsembleMLP(3, 6, (8, 8), 2, generator)
    sparse = EnsembleMLP(3, 6, (8, 8), 2, torch.Generator().manual_seed(5), one_hot=True)
    with torch.no_grad():
        for a, b in zip(dense.parameters(), sparse.parameters(), strict=True):
            b.copy_(torch.cat((a, torch.zeros(1, a.shape[1]))) if a.shape != b.shape else a)
    index = torch.tensor([0, 3, 5, 6, 3])
    vectors = torch.eye(7)[index, :6]  # index 6 is the all-zero vector
    torch.testing.assert_close(dense(vectors), sparse(index), atol=1e-6, rtol=1e-5)
    dense(vectors).square().sum().backward()
    sparse(index).square().sum().backward()
    torch.testing.assert_close(sparse.weights[0].grad[:6], dense.weights[0].grad, atol=1e-6, rtol=1e-5)
    assert sparse.weights[0].grad[6].abs().sum() == 0
    torch.testing.assert_close(sparse.weights[1].grad, dense.weights[1].grad, atol=1e-6, rtol=1e-5)


def test_double_q_target_against_numpy():
    rng = np.random.default_rng(0)
    k, b, a, gamma = 4, 9, 3, 0.95
    online, target = rng.normal(size=(2, k, b, a)).astype(np.float32)
    reward = rng.normal(size=b).astype(np.float32)
    terminated = (rng.random(b) < 0.4).astype(np.float32)
    expected = np.empty((k, b))
    for i in range(k):
        for j in range(b):
            expected[i, j] = reward[j] + (0 if terminated[j] else gamma * target[i, j, online[i, j].argmax()])
    discount = (gamma * (1 - terminated)).astype(np.float32)
    arguments = [torch.from_numpy(v) for v in (reward, discount, online, target)]
    np.testing.assert_allclose(double_q_target(*arguments), expected, atol=1e-6)
    single = double_q_target(*arguments, double_q=False)
    np.testing.assert_allclose(single, reward + gamma * (1 - terminated) * target.max(-1), atol=1e-6)
    assert not np.allclose(single, expected)


def test_the_prior_is_added_scaled_and_fixed(generator):
    critic = CriticEnsemble(3, 4, (8,), 2, 3.0, generator)
    x = torch.randn(5, 4, generator=generator)
    torch.testing.assert_close(critic.prior(x), 3.0 * critic.prior_net.net(x).detach())
    torch.testing.assert_close(critic(x), critic.online(x) + critic.prior(x))
    trained = {id(p) for p in critic.parameters() if p.requires_grad}
    assert trained == {id(p) for p in critic.online.parameters()}
    assert CriticEnsemble(3, 4, (8,), 2, 0.0, generator).prior(x) is None


def test_target_updates(generator):
    critic = CriticEnsemble(2, 3, (4,), 2, 1.0, generator)
    before = [p.clone() for p in critic.target.parameters()]
    with torch.no_grad():
        for p in critic.online.parameters():
            p.mul_(2).add_(1)
    critic.update_target(0.25)
    for old, new, online in zip(before, critic.target.parameters(), critic.online.parameters(), strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * online)
    critic.update_target()
    for new, online in zip(critic.target.parameters(), critic.online.parameters(), strict=True):
        assert torch.equal(new, online)
        assert new.data_ptr() != online.data_ptr()


def test_aggregation():
    q = torch.tensor([[[0.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]], [[9.0, 0.0, 0.0]]])
    assert aggregate_actions(q, "mean").tolist() == [0]
    assert aggregate_actions(q, "vote").tolist() == [1]
    tie = torch.tensor([[[0.0, 1.0, 0.5]], [[3.0, 0.0, 0.5]]])
    assert aggregate_actions(tie, "vote").tolist() == [0]


def test_the_looked_up_prior_of_one_hot_inputs(generator):
    critic = CriticEnsemble(3, 5, (8,), 2, 2.0, generator, one_hot=True)
    x = torch.tensor([0, 4, 5, 2])
    torch.testing.assert_close(critic.prior(x), 2.0 * critic.prior_net.net(x).detach())
    other = CriticEnsemble(3, 5, (8,), 2, 2.0, torch.Generator().manual_seed(9), one_hot=True)
    assert not torch.allclose(other.prior(x), critic.prior(x))
    other.load_state_dict(critic.state_dict())
    assert torch.equal(other.prior(x), critic.prior(x))


def test_priors_of_one_hot_states_differ_as_much_in_a_large_table_as_in_a_small_one():
    """Only one input of a one-hot vector is active: its first layer must not shrink with the vector's width."""

    def spread(width):
        critic = CriticEnsemble(10, width, [32], 2, 3.0, torch.Generator().manual_seed(3), one_hot=True)
        values = critic.prior(torch.arange(width))
        return (values[:, :, 1] - values[:, :, 0]).std(dim=1).mean().item()

    assert spread(2500) == pytest.approx(spread(100), rel=0.15)
    assert spread(100) > 0.3


def test_the_trained_part_of_one_hot_states_starts_small_as_a_dense_layer_does():
    critic = CriticEnsemble(2, 400, [8], 2, 3.0, torch.Generator().manual_seed(3), one_hot=True)
    assert critic.online.weights[0].abs().max() <= 1 / 20
