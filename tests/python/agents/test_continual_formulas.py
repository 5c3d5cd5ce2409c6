"""What each continual-learning method computes, against NumPy float64 from the paper's formula."""

import copy

import numpy as np
import pytest
import torch

from metarl_core.agents.continual.config import ContinualConfig
from metarl_core.agents.continual.environments import SequenceSpaces
from metarl_core.agents.continual.methods.agem import AGem, projected
from metarl_core.agents.continual.methods.clear import Clear, cloning_losses
from metarl_core.agents.continual.methods.ewc import Ewc, fisher_diagonal
from metarl_core.agents.continual.methods.fedavg import mean_weights, spread_weights, train_locally
from metarl_core.agents.continual.methods.imt import td_rows
from metarl_core.agents.continual.methods.l2 import L2, squared_distance
from metarl_core.agents.continual.methods.packnet import kept_weights
from metarl_core.agents.continual.methods.rl2 import RecurrentQ, recurrent_td_errors
from metarl_core.agents.continual.qlearning import QModel, td_errors
from metarl_core.agents.imt.batches import TaskBatch
from metarl_core.tasks import Task

D, H, A, K, B = 3, 5, 2, 3, 7
GAMMA = 0.9


def model_of(trunks, heads, seed=0):
    return QModel(trunks, heads, D, (H,), A, torch.Generator().manual_seed(seed))


def member(p, index):
    return p[index if len(p) > 1 else 0].detach().double().numpy()


def numpy_q(model, x, task):
    """Q(s, .) of a model with one hidden layer, float64 [B, A], and what the backward pass needs."""
    w1, b1, w2, b2 = (member(p, task) for net in (model.trunks, model.heads) for p in (net.weights[0], net.biases[0]))
    hidden = np.maximum(x @ w1 + b1, 0)
    return hidden @ w2 + b2, hidden, w2


def batch_of(seed=1, tasks=K, rows=B):
    rng = np.random.default_rng(seed)
    return TaskBatch(
        torch.from_numpy(rng.normal(size=(tasks, rows, D)).astype(np.float32)),
        torch.from_numpy(rng.integers(A, size=(tasks, rows))),
        torch.from_numpy(rng.normal(size=(tasks, rows)).astype(np.float32)),
        torch.from_numpy(rng.normal(size=(tasks, rows, D)).astype(np.float32)),
        torch.from_numpy((rng.random((tasks, rows)) < 0.3).astype(np.float32)),
    )


def double(tensor):
    return tensor.detach().double().numpy()


@pytest.mark.parametrize(("trunks", "heads"), [(1, 1), (1, K), (K, K)])
@pytest.mark.parametrize("tasks", [(0, 1, 2), (2, 0), (1,)])
def test_a_model_takes_each_tasks_trunk_and_last_layer(trunks, heads, tasks):
    model, batch = model_of(trunks, heads), batch_of()
    x = batch.obs[: len(tasks)]
    q = model(x, tasks)
    for row, task in enumerate(tasks):
        np.testing.assert_allclose(double(q[row]), numpy_q(model, double(x[row]), task)[0], rtol=1e-5, atol=1e-6)


def test_td_errors_against_a_loop():
    model, slow, batch = model_of(1, K), model_of(1, K, seed=4), batch_of()
    tasks = range(K)
    found = td_errors(model(batch.obs, tasks), model(batch.next_obs, tasks), slow(batch.next_obs, tasks), batch, GAMMA)
    for t in tasks:
        for b in range(B):
            best = numpy_q(model, double(batch.next_obs[t, b])[None], t)[0][0].argmax()
            value = numpy_q(slow, double(batch.next_obs[t, b])[None], t)[0][0, best]
            y = batch.reward[t, b].item() + GAMMA * (1 - batch.terminated[t, b].item()) * value
            q = numpy_q(model, double(batch.obs[t, b])[None], t)[0][0, batch.action[t, b]]
            assert found[t, b].item() == pytest.approx(q - y, rel=1e-4, abs=1e-5)
    assert batch.terminated.max() == 1


def numpy_fisher(model, obs, task):
    """E_s sum_a (dQ(s, a) / dtheta)^2 by the chain rule, by hand."""
    _, hidden, w2 = numpy_q(model, obs, task)
    active = (hidden > 0).astype(np.float64)
    first, bias1 = np.zeros((D, H)), np.zeros(H)
    second, bias2 = np.zeros((H, A)), np.zeros(A)
    for s in range(len(obs)):
        for a in range(A):
            into = w2[:, a] * active[s]
            first += np.outer(obs[s], into) ** 2
            bias1 += into**2
            second[:, a] += hidden[s] ** 2
            bias2[a] += 1.0
    return [part / len(obs) for part in (first, bias1, second, bias2)]


def test_fisher_information_is_that_of_a_normal_distribution_around_q():
    model = model_of(1, K)
    obs = np.random.default_rng(3).normal(size=(300, D)).astype(np.float32)
    found = fisher_diagonal(model, torch.from_numpy(obs), 1)
    first, bias1, second, bias2 = numpy_fisher(model, obs.astype(np.float64), 1)
    names = ("trunks.weights.0", "trunks.biases.0", "heads.weights.0", "heads.biases.0")
    for name, expected in zip(names, (first, bias1, second, bias2), strict=True):
        part = found[name][1] if name.startswith("heads") else found[name][0]
        np.testing.assert_allclose(double(part).reshape(expected.shape), expected, rtol=1e-4, atol=1e-7)
    assert found["heads.weights.0"][[0, 2]].abs().max() == 0  # other tasks' last layers play no part


def a_learner(kind, **options):
    tasks = [Task(f"{i}", "PointRobot-v0", {"goal_x": 0.1 * i, "goal_y": 0.0}) for i in range(K)]
    config = ContinualConfig(hidden=(H,), reference_steps=64, memory=128, batch_size=8, **options)
    return kind(config, SequenceSpaces(tasks, config.action_levels, True), tasks, seed=0)


def played(learner, task, rows=64, seed=0):
    rng = np.random.default_rng(seed)
    width = learner.spaces.in_features
    learner.begin_task(task, None)
    columns = {
        "obs": rng.normal(size=(1, rows, width)).astype(np.float32),
        "action": rng.integers(learner.spaces.num_actions, size=(1, rows)),
        "reward": rng.normal(size=(1, rows)).astype(np.float32),
        "next_obs": rng.normal(size=(1, rows, width)).astype(np.float32),
        "terminated": rng.random((1, rows)) < 0.2,
    }
    learner.store(columns, (task,))
    return columns


@pytest.mark.parametrize("heads", ["single", "multi"])
def test_ewcs_penalty_is_the_sum_over_the_tasks(heads):
    learner = a_learner(Ewc, heads=heads, fisher_samples=64)
    anchors, fishers = [], []
    for task in range(2):
        columns = played(learner, task, seed=task)
        learner.update()
        names = {id(p): name for name, p in learner.model.named_parameters()}
        fisher = fisher_diagonal(learner.model, torch.from_numpy(columns["obs"][0]), task)
        fishers.append([double(fisher[names[id(p)]]) for p in learner.protected()])
        anchors.append([double(p) for p in learner.protected()])
        learner.end_task(task)
    with torch.no_grad():
        for p in learner.model.parameters():
            p += 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
    weights = [double(p) for p in learner.protected()]
    expected = sum(
        0.5 * (f * (w - a) ** 2).sum()
        for task in range(2)
        for w, a, f in zip(weights, anchors[task], fishers[task], strict=True)
    )
    assert expected > 0.01
    assert learner.penalty().item() == pytest.approx(expected, rel=1e-3)
    slopes = torch.autograd.grad(learner.penalty(), learner.protected())
    for slope, w, a0, a1, f0, f1 in zip(slopes, weights, *anchors, *fishers, strict=True):
        np.testing.assert_allclose(double(slope), f0 * (w - a0) + f1 * (w - a1), rtol=1e-3, atol=1e-4)
    trunk_only = heads == "multi"
    assert len(weights) == (2 if trunk_only else 4)
    assert learner.stored_bytes() == 2 * 4 * sum(w.size for w in weights)


def test_l2_pulls_to_the_weights_at_the_end_of_the_last_phase():
    learner = a_learner(L2, heads="single", l2_weight=3.0)
    played(learner, 0)
    assert learner.stored_bytes() == 0
    learner.end_task(0)
    anchor = [double(p) for p in learner.model.parameters()]
    played(learner, 1)
    for _ in range(3):
        learner.update()
    batch = learner.sample()
    away = sum(((double(p) - a) ** 2).sum() for p, a in zip(learner.model.parameters(), anchor, strict=True))
    assert away > 1e-6
    td = learner.td_loss(batch, (1,)).item()
    assert learner.loss(batch, (1,)).item() == pytest.approx(td + 1.5 * away, rel=1e-4)
    assert squared_distance([torch.ones(2)], [torch.zeros(2)]).item() == 2.0


def test_cloning_losses_against_numpy():
    rng = np.random.default_rng(0)
    q, stored = rng.normal(size=(2, 4, 6, A))
    policy, value = cloning_losses(torch.from_numpy(q), torch.from_numpy(stored), 0.5)
    kl, squares = [], []
    for now, before in zip(q.reshape(-1, A), stored.reshape(-1, A), strict=True):
        new, old = (np.exp(v / 0.5) / np.exp(v / 0.5).sum() for v in (now, before))
        kl.append((old * np.log(old / new)).sum())
        squares.append((now.max() - before.max()) ** 2)
    assert policy.item() == pytest.approx(np.mean(kl), rel=1e-12)
    assert value.item() == pytest.approx(np.mean(squares), rel=1e-12)
    assert cloning_losses(torch.from_numpy(q), torch.from_numpy(q), 0.5)[0].item() == pytest.approx(0, abs=1e-12)


def test_projected_gradients_never_point_against_the_memorys():
    rng = np.random.default_rng(0)
    turned = 0
    for _ in range(50):
        g, r = rng.normal(size=(2, 5))
        found = projected(torch.from_numpy(g), torch.from_numpy(r)).numpy()
        if g @ r >= 0:
            np.testing.assert_array_equal(found, g)
            continue
        turned += 1
        np.testing.assert_allclose(found, g - (g @ r) / (r @ r) * r, rtol=1e-12)
        assert found @ r == pytest.approx(0, abs=1e-12)
    assert 10 < turned < 40


def test_packnet_keeps_the_largest_free_weights():
    weight = torch.tensor([[0.1, -5.0, 0.3], [2.0, -0.2, 0.05]])
    free = torch.tensor([[True, False, True], [True, True, True]])
    assert kept_weights(weight, free, 0.4).tolist() == [[False, False, True], [True, False, False]]
    assert torch.equal(kept_weights(weight, free, 1.0), free)
    assert not kept_weights(weight, free, 0.0).any()


def test_averaging_is_uniform_and_a_step_goes_part_of_the_way():
    model, members = model_of(1, 1), model_of(K, K, seed=2)
    before = [double(p)[0] for p in model.parameters()]
    own = [double(p) for p in members.parameters()]
    mean_weights(model, members, 0.25)
    for p, old, each in zip(model.parameters(), before, own, strict=True):
        np.testing.assert_allclose(double(p)[0], old + 0.25 * (each.mean(axis=0) - old), rtol=1e-6)
    mean_weights(model, members)
    for p, each in zip(model.parameters(), own, strict=True):
        np.testing.assert_allclose(double(p)[0], each.mean(axis=0), rtol=1e-6)
    spread_weights(model, members)
    x = torch.randn(K, B, D)
    assert torch.equal(members(x, range(K))[1], model_from(members, 1)(x[1:2], (0,))[0])


def model_from(members, index):
    one = model_of(1, 1)
    with torch.no_grad():
        for p, each in zip(one.parameters(), members.parameters(), strict=True):
            p.copy_(each[index : index + 1])
    return one


def test_networks_trained_together_are_those_trained_one_by_one():
    together = model_of(K, K, seed=5)
    alone = [model_from(together, i) for i in range(K)]
    batches = [batch_of(seed=s) for s in range(6)]

    def train(model, own):
        queue = iter(batches)

        def sample():
            batch = next(queue)
            return TaskBatch(*(getattr(batch, f)[own] for f in ("obs", "action", "reward", "next_obs", "terminated")))

        train_locally(model, sample, torch.optim.Adam(model.parameters(), 0.01), 6, GAMMA, 2)

    start = copy.deepcopy(together)
    train(together, slice(0, K))
    for i in range(K):
        train(alone[i], slice(i, i + 1))
        for p, each in zip(alone[i].parameters(), together.parameters(), strict=True):
            np.testing.assert_allclose(double(p)[0], double(each)[i], rtol=1e-4, atol=1e-6)
    assert not torch.equal(start.heads.weights[0], together.heads.weights[0])


@pytest.mark.parametrize("whose", ["others", "all", "own"])
def test_whose_transitions_a_trunk_learns_from(whose):
    rows = td_rows(4, 10, 500, whose, np.random.default_rng(0))
    assert rows.shape == (4, 500)
    for i in range(4):
        expected = {"others": set(range(4)) - {i}, "all": set(range(4)), "own": {i}}[whose]
        assert set((rows[i] // 10).tolist()) == expected
        assert set((rows[i] % 10).tolist()) == set(range(10))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_gru(net, x, state, done):
    """Values of one sequence in float64 (Cho et al. 2014, as torch has it)."""
    wi, wh, bi, bh = (double(p) for p in (net.cell.weight_ih, net.cell.weight_hh, net.cell.bias_ih, net.cell.bias_hh))
    size, values = len(state), []
    for t in range(len(x)):
        if t and done[t - 1]:
            state = np.zeros(size)
        gi, gh = wi @ x[t] + bi, wh @ state + bh
        r, z = sigmoid(gi[:size] + gh[:size]), sigmoid(gi[size : 2 * size] + gh[size : 2 * size])
        n = np.tanh(gi[2 * size :] + r * gh[2 * size :])
        state = (1 - z) * n + z * state
        values.append(double(net.head.weight) @ state + double(net.head.bias))
    return np.array(values)


def test_recurrent_td_errors_go_on_through_episodes_and_end_with_the_trial():
    rng, length, rows, inputs = np.random.default_rng(0), 6, 3, 4
    net, slow = (RecurrentQ(inputs, H, A, torch.Generator().manual_seed(s)) for s in (0, 1))
    x, state = rng.normal(size=(rows, length + 1, inputs)), rng.normal(size=(rows, H))
    done = np.zeros((rows, length))
    done[0, 2] = done[2, 5] = 1
    action, reward = rng.integers(A, size=(rows, length)), rng.normal(size=(rows, length))
    tensors = [torch.from_numpy(v.astype(np.float32)) for v in (x, state, done)]
    batch = {
        "action": torch.from_numpy(action),
        "reward": torch.from_numpy(reward.astype(np.float32)),
        "done": tensors[2],
    }
    found = recurrent_td_errors(net(*tensors), slow(*tensors), batch, GAMMA)
    for row in range(rows):
        q, late = (numpy_gru(each, x[row], state[row], done[row]) for each in (net, slow))
        for t in range(length):
            y = reward[row, t] + GAMMA * (1 - done[row, t]) * late[t + 1, q[t + 1].argmax()]
            assert found[row, t].item() == pytest.approx(q[t, action[row, t]] - y, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("heads", ["single", "multi"])
def test_clears_loss_has_four_parts(heads, monkeypatch):
    learner = a_learner(Clear, heads=heads, clear_policy_weight=0.3, clear_value_weight=0.7, clear_temperature=0.5)
    for task in range(2):
        played(learner, task, seed=task)
        for _ in range(3):
            learner.update()
    drawn = learner.reservoir.sample(4)
    monkeypatch.setattr(learner, "reservoir", FixedSample(drawn))
    batch = learner.sample()
    new = TaskBatch(*(getattr(batch, f)[:, :4] for f in ("obs", "action", "reward", "next_obs", "terminated")))
    td, kl, value = [], [], []
    for row in range(4):
        task = int(drawn["task_id"][row]) if heads == "multi" else 0
        states = [drawn[name][row][None].astype(np.float64) for name in ("obs", "next_obs")]
        q, following = (numpy_q(learner.model, x, task)[0][0] for x in states)
        late = numpy_q(learner.target, states[1], task)[0][0]
        y = drawn["reward"][row] + learner.config.gamma * (1 - drawn["terminated"][row]) * late[following.argmax()]
        td.append((q[drawn["action"][row]] - y) ** 2)
        old, now = (np.exp(v / 0.5) / np.exp(v / 0.5).sum() for v in (drawn["q"][row].astype(np.float64), q))
        kl.append((old * np.log(old / now)).sum())
        value.append((q.max() - drawn["q"][row].max()) ** 2)
    expected = learner.td_loss(new, (1,)).item() + np.mean(td) + 0.3 * np.mean(kl) + 0.7 * np.mean(value)
    assert len(set(drawn["task_id"].tolist())) == 2  # of both tasks
    assert learner.loss(batch, (1,)).item() == pytest.approx(expected, rel=1e-4)


class FixedSample:
    def __init__(self, drawn):
        self.drawn = drawn

    def sample(self, count):
        assert count == 4
        return self.drawn


def test_a_gem_changes_no_gradient_before_there_is_a_memory_and_turns_it_after():
    learner = a_learner(AGem, heads="single")
    played(learner, 0)
    seen = []
    learner.optimizer.step = lambda: seen.append([p.grad.clone() for p in learner.model.parameters()])
    batch = learner.sample()
    learner.descend(learner.td_loss(batch, (0,)))
    plain = torch.autograd.grad(learner.td_loss(batch, (0,)), list(learner.model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(seen[0], plain, strict=True))
    learner.end_task(0)
    played(learner, 1, seed=5)
    learner.optimizer.step = lambda: seen.append([p.grad.clone() for p in learner.model.parameters()])
    kept = learner.memory.sample(64)
    learner.memory.sample = lambda rows, tasks: kept
    reference = torch.cat(
        [g.flatten() for g in torch.autograd.grad(learner.td_loss(kept, (0,)), list(learner.model.parameters()))]
    )
    against = -learner.td_loss(kept, (0,))  # a loss whose gradient is the opposite of the memory's
    learner.descend(against)
    assert torch.cat([g.flatten() for g in seen[1]]).abs().max() < 1e-5 * reference.abs().max()
    learner.descend(2 * learner.td_loss(kept, (0,)))
    assert torch.allclose(torch.cat([g.flatten() for g in seen[2]]), 2 * reference)
