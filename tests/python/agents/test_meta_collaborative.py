"""Averaging rounds against float64 computations by loops: local steps, FedProx's pull, weights, averages."""

import numpy as np
import pytest
import torch

from metarl_core import ConfigError
from metarl_core.agents.baselines.bootdqn import BootstrappedDQNConfig
from metarl_core.agents.baselines.dqn import DoubleDQNConfig
from metarl_core.agents.meta import Collaborative, QLearner, WeightedAverage
from metarl_core.agents.meta.collaborative import pulled
from metarl_core.tasks import Task, TaskDataset

GOALS = [(0.5, 0.1), (0.4, 0.2), (-0.5, -0.1)]
SGD = DoubleDQNConfig(hidden=(), optimizer="sgd", momentum=0.5, lr=0.05, gamma=0.9, batch_size=20, target_period=1000)
DEEP = DoubleDQNConfig(hidden=(8,), optimizer="adam", lr=1e-3, epochs=1, batch_size=16)
UNIFORM = WeightedAverage(similarity="none", accuracy="none")


def robot(x, y):
    return Task(f"({x}, {y})", "PointRobot-v0", {"goal_x": x, "goal_y": y})


def clients(config=DEEP, count=3):
    return [QLearner(robot(*goal), config, seed=i) for i, goal in enumerate(GOALS[:count])]


def recorded(learner, steps=60, seed=0):
    envs = learner.task.make_vec(2, seed=seed, autoreset_mode="same_step")
    rng = np.random.default_rng(seed)
    try:
        table = learner.spaces.table
        return TaskDataset.record(envs, lambda obs: table[rng.integers(9, size=len(obs))], steps=steps, seed=seed)
    finally:
        envs.close()


def network(learner):
    return [p.detach().double().numpy().copy() for p in learner.agent.critic.online.parameters()]


def test_two_rounds_against_numpy(monkeypatch):
    """Linear networks, three gradient steps a round: SGD with momentum, FedProx, weighted averages, all in float64."""
    learners = clients(SGD)
    data = [recorded(learner, seed=i) for i, learner in enumerate(learners)]
    columns = [learner.columns(d) for learner, d in zip(learners, data, strict=True)]
    fit = QLearner.fit
    monkeypatch.setattr(QLearner, "fit", lambda self, d, epochs: fit(self, d, epochs, shuffle=False))
    strategy = WeightedAverage(accuracy="none", temperature=0.5)
    together = Collaborative(learners, data, strategy, prox_mu=0.3, reference_steps=2048)
    given = [network(learners[0])] * 3
    w = np.exp(together.cosines / 0.5)
    w /= w.sum(axis=1, keepdims=True)
    for number in range(2):
        done = together.round()
        assert done.number == number + 1
        after = []
        for i in range(3):
            theta, target = [p.copy() for p in given[i]], given[i]
            momentum = [np.zeros_like(p) for p in theta]
            for start in range(0, 60, 20):
                part = {name: column[start : start + 20] for name, column in columns[i].items()}
                every, x, y = np.arange(20), part["obs"].astype(np.float64), part["next_obs"].astype(np.float64)
                chosen = (y @ theta[0] + theta[1]).argmax(axis=1)
                following = (y @ target[0] + target[1])[every, chosen]
                backed = part["reward"] + 0.9 * (1 - part["terminated"]) * following
                delta = (x @ theta[0] + theta[1])[every, part["action"]] - backed
                spread = 2 / 20 * delta[:, None] * np.eye(9)[part["action"]]
                gradient = [x.T @ spread, spread.sum(axis=0)]
                for k in range(2):
                    pull = 0.3 * (theta[k] - given[i][k])
                    momentum[k] = 0.5 * momentum[k] + gradient[k] + pull
                theta = [p - 0.05 * m for p, m in zip(theta, momentum, strict=True)]
            after.append(theta)
        drift = [
            np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(*p, strict=True))) for p in zip(after, given, strict=True)
        ]
        np.testing.assert_allclose(done.drift, drift, rtol=1e-4)
        np.testing.assert_allclose(done.weights, w, rtol=1e-12)
        given = [[sum(w[j, i] * after[i][k] for i in range(3)) for k in range(2)] for j in range(3)]
        for learner, expected in zip(learners, given, strict=True):
            for own, value in zip(network(learner), expected, strict=True):
                np.testing.assert_allclose(own, value, rtol=1e-4, atol=1e-6)
    assert min(drift) > 0.01
    assert np.abs(given[0][0] - given[2][0]).max() > 1e-3  # each client has an average of its own


def test_the_pull_is_the_gradient_of_fedprox():
    """One step with and without the term, from the same place: they differ by lr mu (theta - anchor)."""
    anchor = [torch.from_numpy(p).float() for p in network(clients(SGD)[1])]
    found = []
    for mu in (0.0, 0.7):
        learner = clients(SGD)[0]
        start, columns = network(learner), learner.columns(recorded(learner, 20))
        plain = learner.agent.losses
        with pulled(learner, anchor, mu):
            learner.update(columns)
        assert learner.agent.losses == plain
        found.append(network(learner))
    for a, b, here, there in zip(*found, start, anchor, strict=True):
        np.testing.assert_allclose(a - b, 0.05 * 0.7 * (here - there.double().numpy()), rtol=1e-3, atol=1e-7)
        assert np.abs(a - b).max() > 1e-3


def test_uniform_weights_give_all_clients_the_plain_average():
    learners = clients()
    data = [recorded(learner, seed=i) for i, learner in enumerate(learners)]
    together = Collaborative(learners, data, UNIFORM, prox_mu=0.0)
    start = [network(learner) for learner in learners]
    for other in start[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(start[0], other, strict=True))
    alone = clients()
    for learner, dataset in zip(alone, data, strict=True):
        learner.agent.critic.load_state_dict(learners[0].agent.critic.state_dict())
        learner.fit(dataset)
    together.round()
    for k, own in enumerate(network(learners[2])):
        np.testing.assert_allclose(own, np.mean([network(a)[k] for a in alone], axis=0), rtol=1e-5, atol=1e-7)
    for learner in learners:
        assert all(np.array_equal(a, b) for a, b in zip(network(learner), network(learners[0]), strict=True))
        x = torch.rand(4, 2)
        assert torch.equal(learner.agent.critic.target(x), learner.agent.critic.online(x))
        assert not learner.agent.optimizer.state


def test_weights_by_hand():
    cosines = np.array([[1.0, 0.5], [0.5, 1.0]])
    accuracy = np.array([0.2, 0.9])
    raw = np.exp(cosines / 0.25) * (accuracy + 0.1)
    options = {"temperature": 0.25, "accuracy_eps": 0.1}
    found = WeightedAverage(**options).weights(cosines, accuracy)
    np.testing.assert_allclose(found, raw / raw.sum(axis=1, keepdims=True))
    found = WeightedAverage(similarity="none", **options).weights(None, accuracy)
    np.testing.assert_allclose(found, [[0.3 / 1.3, 1 / 1.3]] * 2)
    np.testing.assert_array_equal(UNIFORM.weights(None, accuracy), np.full((2, 2), 0.5))


def test_clients_with_like_tasks_count_more_for_each_other():
    together = Collaborative(clients(), strategy=WeightedAverage(accuracy="none"), steps=40)
    w = together.round().weights
    np.testing.assert_allclose(w.sum(axis=1), 1)
    assert w[0, 1] > 3 * w[0, 2]
    assert w[1, 0] > 3 * w[1, 2]
    assert w[2, 2] == w[2].max()


def test_playing_clients_learn_and_go_on_bit_for_bit_from_a_state():
    config = DoubleDQNConfig(
        hidden=(16,),
        optimizer="adam",
        lr=1e-3,
        epochs=1,
        batch_size=32,
        gamma=0.9,
        learning_starts=64,
        epsilon_steps=800,
    )
    first, second = (Collaborative(clients(config), steps=300, episodes=2, reference_steps=512) for _ in range(2))
    before = first.evaluate(episodes=2)
    for _ in range(3):
        done = first.round()
    assert [len(replay) for replay in first.replays] == [900] * 3
    assert [client.steps for client in first.clients] == [900] * 3
    assert done.returns.shape == (3,)
    assert np.isfinite(done.errors).all()
    assert first.evaluate(episodes=2).mean() > before.mean()
    second.load_state_dict(first.state_dict())
    for together in (first, second):
        together.round()
    np.testing.assert_array_equal(first.rounds[-1].weights, second.rounds[-1].weights)
    for a, b in zip(first.clients, second.clients, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(network(a), network(b), strict=True))
    assert [r.number for r in second.rounds] == [1, 2, 3, 4]


def test_accuracy_goes_from_random_to_the_best_round(monkeypatch):
    together = Collaborative(clients(), strategy=WeightedAverage(similarity="none"), steps=40)
    together._random = np.array([-50.0, -50.0, -50.0])
    told = iter([-10.0, -30.0, -60.0, -20.0, -10.0, -60.0])
    monkeypatch.setattr(QLearner, "evaluate", lambda *_, **__: np.array([next(told)]))
    first, second = together.round(), together.round()
    raw = np.array([1.0, 1.0, 0.0]) + 0.01
    np.testing.assert_allclose(first.weights, [raw / raw.sum()] * 3)
    raw = np.array([30 / 40, 1.0, 0.0]) + 0.01
    np.testing.assert_allclose(second.weights, [raw / raw.sum()] * 3)


def test_mistakes_are_named():
    two = clients(count=2)
    for given, options, message in (
        (two, {}, r"clients has 2 learners; must have at least 3 .*set similarity='none'"),
        (two[:1], {"strategy": UNIFORM}, "clients has 1 learners; must have at least 2; add clients"),
        ([*two, QLearner(Task("pole", "CartPole-v1"), DEEP)], {}, "and 'pole' differ in their observation space"),
        ([*two, clients(SGD)[2]], {}, r"client '\(-0.5, -0.1\)' has parameters of shapes"),
        (
            [*two, QLearner(robot(0, 0), BootstrappedDQNConfig(members=2), name="many")],
            {},
            r"'many' \(bootdqn\) is not one network",
        ),
        (two, {"strategy": UNIFORM, "prox_mu": -1}, r"prox_mu=-1\.0: must be >= 0"),
        (two, {"strategy": UNIFORM, "steps": 0}, "steps=0: must be >= 1"),
        (two, {"strategy": UNIFORM, "datasets": [recorded(two[0])]}, "datasets has 1 for 2 clients"),
    ):
        with pytest.raises(ConfigError, match=message):
            Collaborative(given, **options)
    for options, message in (
        ({"similarity": "cosine"}, "similarity='cosine': choose one of embedding, none"),
        ({"accuracy": "td"}, "accuracy='td': choose one of return, none"),
        ({"temperature": 0.0}, r"temperature=0\.0: must be > 0"),
        ({"accuracy_eps": -0.1}, r"accuracy_eps=-0\.1: must be >= 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            WeightedAverage(**options)
