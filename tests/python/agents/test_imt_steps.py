"""Steps 1 to 3 of IMT against loops over submodels in NumPy float64."""

import numpy as np
import pytest
import torch

from metarl_core.agents.imt.batches import TaskBatch, leave_one_out_rows, stack_tasks
from metarl_core.agents.imt.networks import BatchedMLP, Submodels
from metarl_core.agents.imt.steps import (
    head_td_errors,
    pretrain_common,
    proximal_penalty,
    submodel_losses,
    td_errors,
)

K, B, D, A, E, F = 4, 6, 3, 2, 5, 8


def make_models(seed=0, spread=True):
    generator = torch.Generator().manual_seed(seed)
    models = Submodels(K, D, (7, F), A, E, (9,), generator)
    if spread:  # every part different from every other, so that mixing them up shows
        with torch.no_grad():
            for p in models.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return models


def make_batch(seed=1, tasks=K, rows=B):
    rng = np.random.default_rng(seed)
    columns = [
        {
            "obs": rng.normal(size=(rows, D)),
            "action": rng.integers(A, size=rows),
            "reward": rng.normal(size=rows),
            "next_obs": rng.normal(size=(rows, D)),
            "terminated": rng.random(rows) < 0.3,
        }
        for _ in range(tasks)
    ]
    return stack_tasks(columns)


def mlp(net, member, x, relu_output=False):
    """One member in float64."""
    h = np.asarray(x, dtype=np.float64)
    last = len(net.weights) - 1
    for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        h = h @ weight[member].detach().double().numpy() + bias[member].detach().double().numpy()
        h = np.maximum(h, 0) if layer < last or relu_output else h
    return h


def q_of(models, member, x, target=False):
    trunks, heads = (models.target_trunks, models.target_heads) if target else (models.trunks, models.heads)
    return mlp(heads, member, mlp(trunks, member, x, relu_output=True))


def td_oracle(models, batch, gamma):
    errors = np.zeros(batch.shape)
    for i in range(models.members):
        for b in range(batch.shape[1]):
            best = q_of(models, i, batch.next_obs[i, b]).argmax()
            following = q_of(models, i, batch.next_obs[i, b], target=True)[0, best]
            y = batch.reward[i, b].item() + gamma * (1 - batch.terminated[i, b].item()) * following
            errors[i, b] = q_of(models, i, batch.obs[i, b])[0, batch.action[i, b]] - y
    return errors


def test_submodels_start_from_the_common_trunk_and_equal_last_layers():
    models = make_models(spread=False)
    for own, common in zip(models.trunks.parameters(), models.common.parameters(), strict=True):
        assert torch.equal(own, common.expand_as(own))
    for p in (*models.heads.parameters(), *models.predictors.parameters()):
        assert torch.equal(p, p[:1].expand_as(p))
    same = make_models(spread=False)
    assert all(torch.equal(a, b) for a, b in zip(models.parameters(), same.parameters(), strict=True))
    other = make_models(seed=1, spread=False)
    assert not torch.equal(models.common.weights[0], other.common.weights[0])


def test_members_are_evaluated_on_rows_of_their_own():
    models, batch = make_models(), make_batch()
    q = models.q(batch.obs).detach()
    expected = np.stack([q_of(models, i, batch.obs[i]) for i in range(K)])
    np.testing.assert_allclose(q, expected, rtol=1e-5, atol=1e-6)
    together = models.q(models.rows_for_all(batch.obs[0])).detach()
    np.testing.assert_allclose(together[2], q_of(models, 2, batch.obs[0]), rtol=1e-5, atol=1e-6)


def test_td_errors_against_a_loop():
    models, batch = make_models(), make_batch()
    expected = td_oracle(models, batch, 0.9)
    np.testing.assert_allclose(td_errors(models, batch, 0.9).detach(), expected, rtol=1e-4, atol=1e-5)
    assert batch.terminated.max() == 1


def test_step_two_loss_against_a_loop():
    models, reference, replay = make_models(), make_batch(2), make_batch(3)
    targets = torch.from_numpy(np.random.default_rng(5).normal(size=(K, B, E)).astype(np.float32))
    losses = submodel_losses(models, reference, targets, replay, lambda_rl=0.7, mu=0.2, gamma=0.9)
    td = (td_oracle(models, replay, 0.9) ** 2).mean(axis=1)
    for i in range(K):
        s, following = (mlp(models.trunks, i, getattr(reference, o)[i], True) for o in ("obs", "next_obs"))
        x = np.concatenate((s, following, np.eye(A)[reference.action[i]], reference.reward[i][:, None]), axis=1)
        embedding = ((mlp(models.predictors, i, x) - targets[i].double().numpy()) ** 2).sum(axis=1).mean()
        pairs = zip(models.trunks.parameters(), models.common.parameters(), strict=True)
        proximal = sum(((o[i] - c[0]).detach().double() ** 2).sum().item() for o, c in pairs)
        assert losses.embedding[i].item() == pytest.approx(embedding, rel=1e-4)
        assert losses.td[i].item() == pytest.approx(td[i], rel=1e-4)
        assert losses.proximal[i].item() == pytest.approx(proximal, rel=1e-4)
        assert losses.total[i].item() == pytest.approx(embedding + 0.7 * td[i] + 0.1 * proximal, rel=1e-4)


def test_each_submodel_gets_the_gradient_of_its_own_loss_alone():
    models, reference, replay = make_models(), make_batch(2), make_batch(3)
    targets = torch.zeros(K, B, E)
    losses = submodel_losses(models, reference, targets, replay, lambda_rl=1.0, mu=1.0, gamma=0.9)
    losses.total[1].backward()
    for net in (models.trunks, models.heads, models.predictors):
        for p in net.parameters():
            touched = p.grad.flatten(1).abs().sum(dim=1) > 0
            assert touched.tolist() == [False, True, False, False]
    fixed = (models.common, models.target_trunks, models.target_heads)
    assert all(p.grad is None for net in fixed for p in net.parameters())


def test_as_written_has_the_embedding_loss_alone():
    models, reference = make_models(), make_batch(2)
    targets = torch.ones(K, B, E)
    losses = submodel_losses(models, reference, targets, None, lambda_rl=0.0, mu=0.0, gamma=0.9)
    assert torch.equal(losses.total.detach(), losses.embedding)
    assert losses.td.abs().max() == 0
    assert losses.proximal.abs().max() == 0
    with pytest.raises(ValueError, match=r"replay is None; lambda_rl=1\.0 needs transitions"):
        submodel_losses(models, reference, targets, None, lambda_rl=1.0, mu=0.0, gamma=0.9)


def test_tuning_the_last_layers_leaves_the_trunks_alone():
    models, batch = make_models(), make_batch()
    errors = head_td_errors(models, batch, 0.9)
    # The target's trunk is the frozen online one: the slow copy of the trunk plays no part.
    with torch.no_grad():
        for slow, own in zip(models.target_trunks.parameters(), models.trunks.parameters(), strict=True):
            slow.copy_(own)
    np.testing.assert_allclose(errors.detach(), td_oracle(models, batch, 0.9), rtol=1e-4, atol=1e-5)
    errors.square().sum().backward()
    assert all(p.grad is not None for p in models.heads.parameters())
    assert all(p.grad is None for p in models.trunks.parameters())


def test_proximal_penalty_is_zero_at_the_common_trunk():
    models = make_models()
    assert proximal_penalty(models).min() > 0
    models.begin_from_common()
    assert proximal_penalty(models).abs().max() == 0


def test_pretraining_learns_the_dynamics_and_starts_the_submodels_from_it():
    """s' = s + 0.3 (a - 1/2) and r = s_0: a trunk that was pretrained explains most of it."""
    rng = np.random.default_rng(0)
    columns = []
    for _ in range(K):
        obs, action = rng.normal(size=(200, D)), rng.integers(A, size=200)
        following = obs + 0.3 * (action[:, None] - 0.5)
        rest = {"reward": obs[:, 0], "next_obs": following, "terminated": np.zeros(200)}
        columns.append({"obs": obs, "action": action, **rest})
    models, pooled = make_models(spread=False), stack_tasks(columns)
    before = models.trunk_vector(models.common)
    losses = pretrain_common(
        models,
        pooled,
        lambda _: torch.from_numpy(rng.integers(K * 200, size=64)),
        updates=300,
        lr=0.01,
        hidden=16,
        generator=torch.Generator().manual_seed(0),
    )
    assert np.mean(losses[-20:]) < 0.1 * losses[0]
    assert not torch.equal(models.trunk_vector(models.common), before)
    assert torch.equal(models.trunk_vector(models.trunks), models.trunk_vector(models.common).expand(K, -1))
    assert torch.equal(models.trunk_vector(models.target_trunks), models.trunk_vector(models.trunks))


def test_leave_one_out_rows():
    tasks, rows = leave_one_out_rows(5, 7, 3000, np.random.default_rng(0))
    for i in range(5):
        counts = np.bincount(tasks[i], minlength=5)
        assert counts[i] == 0
        others = np.delete(counts, i)
        assert ((others - 750) ** 2 / 750).sum() < 16.3  # chi-square, 3 degrees of freedom, p = 0.001
    np.testing.assert_array_equal(rows // 7, tasks)
    assert set((rows % 7).ravel()) == set(range(7))
    with pytest.raises(ValueError, match="tasks is 1; must be >= 2"):
        leave_one_out_rows(1, 7, 3, np.random.default_rng(0))


def test_rows_of_a_batch():
    batch = make_batch()
    picked = batch.rows(torch.tensor([[0, B], [2 * B + 3, 1]]))
    assert isinstance(picked, TaskBatch)
    assert picked.shape == (2, 2)
    assert torch.equal(picked.obs[0, 1], batch.obs[1, 0])
    assert torch.equal(picked.next_obs[1, 0], batch.next_obs[2, 3])
    assert picked.reward[1, 1] == batch.reward[0, 1]
    with pytest.raises(ValueError, match=r"the tasks have \[6, 5\] rows; must be equal numbers"):
        stack_tasks([{"obs": np.zeros((6, D))}, {"obs": np.zeros((5, D))}])


def test_weights_of_a_batched_perceptron_are_in_their_range():
    net = BatchedMLP(3, (100, 50, 4), torch.Generator().manual_seed(0))
    for weight, fan_in in zip(net.weights, (100, 50), strict=True):
        assert weight.abs().max() <= fan_in**-0.5
        assert weight.std().item() == pytest.approx((1 / 3) ** 0.5 * fan_in**-0.5, rel=0.1)
        assert not torch.equal(weight[0], weight[1])
