"""One learner by datasets, by single transitions and by playing: where they must agree, they do."""

import numpy as np
import pytest
import torch

from metarl_core import ConfigError
from metarl_core.agents.baselines.bootdqn import BootstrappedDQNConfig
from metarl_core.agents.baselines.dqn import DoubleDQNConfig
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.meta import QLearner
from metarl_core.tasks import Task, TaskDataset

LAKE = Task("lake", "FrozenLake-v1", {"is_slippery": False})
POLE = Task("pole", "CartPole-v1", {"length": 0.7})
ROBOT = Task("robot", "PointRobot-v0", {"goal_x": 0.2, "goal_y": -0.1})
NAMES = ("obs", "action", "reward", "next_obs", "terminated")


def recorded(task, steps, seed=0):
    envs = task.make_vec(4, seed=seed, autoreset_mode="same_step")
    try:
        return TaskDataset.record(envs, "random", steps=steps, seed=seed)
    finally:
        envs.close()


def rows(dataset):
    columns = dataset[:]
    for i in range(len(dataset)):
        yield {name: columns[name][i] for name in NAMES}


def weights(learner):
    return {name: value.clone() for name, value in learner.agent.critic.state_dict().items()}


def assert_equal(a, b):
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


SETTINGS = {
    "adam": DoubleDQNConfig(hidden=(16,), optimizer="adam", lr=1e-3, target_period=7),
    "sgd": DoubleDQNConfig(hidden=(16,), optimizer="sgd", lr=0.01, target_update="polyak"),
    "table": DoubleDQNConfig(hidden=(), optimizer="sgd", momentum=0.5, lr=0.1, target_period=3),
    "masks": BootstrappedDQNConfig(hidden=(8,), members=4, lr=1e-3, mask_probability=0.5, target_period=5),
}


@pytest.mark.parametrize("task", [LAKE, POLE, ROBOT], ids=lambda task: task.name)
@pytest.mark.parametrize("setting", SETTINGS)
def test_one_transition_at_a_time_is_a_batch_of_one(task, setting):
    """A pass of ``fit`` in order with batches of one is ``partial_fit`` of every transition, bit for bit."""
    dataset = recorded(task, 60)
    batch, online = QLearner(task, SETTINGS[setting]), QLearner(task, SETTINGS[setting])
    before = weights(batch)
    if setting == "masks":  # drawn once for all epochs of a call
        errors = [batch.fit(dataset, batch_size=1, shuffle=False)[0] for _ in range(2)]
    else:
        errors = batch.fit(dataset, epochs=2, batch_size=1, shuffle=False)
    single = [[online.partial_fit(row) for row in rows(dataset)] for _ in range(2)]
    assert_equal(weights(batch), weights(online))
    assert not torch.equal(before["online.weights.0"], weights(batch)["online.weights.0"])
    assert errors == [pytest.approx(np.mean(epoch), rel=1e-12) for epoch in single]
    assert batch.agent.updates == online.agent.updates == 120
    # And they go on alike.
    batch.partial_fit(next(rows(dataset)))
    online.fit(dataset.take_rows(0, 1))
    assert_equal(weights(batch), weights(online))


def test_a_transition_keeps_its_bootstrap_mask_through_all_epochs(monkeypatch):
    dataset = recorded(POLE, 60)
    learner = QLearner(POLE, SETTINGS["masks"])
    given, update = [], QLearner.update

    def seen(learner, columns):
        given.extend(zip(map(bytes, columns["obs"]), map(tuple, columns["mask"]), strict=True))
        return update(learner, columns)

    monkeypatch.setattr(QLearner, "update", seen)
    learner.fit(dataset, epochs=3, batch_size=16)
    assert len(given) == 180
    assert len(set(given)) == len({obs for obs, _ in given}) == 60
    assert 0.4 < np.mean([mask for _, mask in given]) < 0.6


def transitions(dataset):
    """The model of a deterministic task that its data hold, as float64 tables [S, A]."""
    reward, following = np.full((16, 4), np.nan), np.zeros((16, 4), dtype=int)
    going_on = np.zeros((16, 4))
    for row in rows(dataset):
        at = row["obs"], row["action"]
        reward[at], following[at], going_on[at] = row["reward"], row["next_obs"], 1 - row["terminated"]
    return reward, following, going_on


def test_batch_and_online_have_the_same_fixed_point_which_is_that_of_dynamic_programming():
    dataset = recorded(LAKE, 3000)
    reward, following, going_on = transitions(dataset)
    seen = ~np.isnan(reward)
    assert seen.any(axis=1).sum() == 11  # every state that is no end: all of its four actions
    assert seen.sum() == 44
    exact = np.zeros((16, 4))
    for _ in range(500):
        exact = np.where(seen, np.nan_to_num(reward) + 0.8 * going_on * exact.max(axis=1)[following], 0.0)
    # Each (s, a) once, so that all entries of the table are equally near.
    first = np.unique(dataset.obs * 4 + dataset.actions, return_index=True)[1]
    table = TaskDataset(
        *(getattr(dataset, n)[first] for n in ("obs", "actions", "rewards", "next_obs", "terminated", "truncated")),
        np.arange(44),
        observation_space=dataset.observation_space,
        action_space=dataset.action_space,
    )
    plain = {"hidden": (), "optimizer": "sgd", "momentum": 0.0, "gamma": 0.8}
    batch = QLearner(LAKE, DoubleDQNConfig(lr=3.0, target_period=10, **plain), seed=1)
    batch.fit(table, epochs=300, batch_size=44)
    online = QLearner(LAKE, DoubleDQNConfig(lr=0.3, target_period=44, **plain))
    for _ in range(60):
        for row in rows(table):
            online.partial_fit(row)
    found = [learner.values(np.arange(16)).numpy()[seen] for learner in (online, batch)]
    np.testing.assert_allclose(found[0], exact[seen], atol=2e-3)
    np.testing.assert_allclose(found[1], exact[seen], atol=1e-5)
    assert exact[seen].max() == pytest.approx(1)
    assert np.ptp(exact[seen]) > 0.7


@pytest.mark.parametrize("size", [1, 5])
def test_gradient_step_against_numpy(size):
    """Linear Double DQN of vectors: theta - lr times the gradient of the mean squared TD error, in float64."""
    config = DoubleDQNConfig(hidden=(), optimizer="sgd", momentum=0.0, lr=0.1, gamma=0.9, target_period=2)
    learner, dataset = QLearner(POLE, config, seed=3), recorded(POLE, 6 * size, seed=2)
    columns = learner.columns(dataset)
    online = [p.detach().double().numpy().copy() for p in learner.agent.critic.online.parameters()]
    target = [p.copy() for p in online]

    def q(theta, x):
        return x.astype(np.float64) @ theta[0] + theta[1]

    for step in range(6):
        part = {name: column[step * size : (step + 1) * size] for name, column in columns.items()}
        every = np.arange(size)
        chosen = q(online, part["next_obs"]).argmax(axis=1)
        backed = part["reward"] + 0.9 * (1 - part["terminated"]) * q(target, part["next_obs"])[every, chosen]
        delta = q(online, part["obs"])[every, part["action"]] - backed
        np.testing.assert_allclose(learner.update(part), np.abs(delta), rtol=1e-4, atol=1e-6)
        gradient = 2 / size * delta[:, None] * np.eye(2)[part["action"]]
        online[0] -= 0.1 * part["obs"].astype(np.float64).T @ gradient
        online[1] -= 0.1 * gradient.sum(axis=0)
        if step % 2:
            target = [p.copy() for p in online]
    for own, expected in zip(learner.agent.critic.online.parameters(), online, strict=True):
        np.testing.assert_allclose(own.detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_shuffled_epochs_see_every_transition_once_in_an_order_of_the_seed():
    dataset, config = recorded(POLE, 50), SETTINGS["sgd"]
    seen = []
    learner, other, third = (QLearner(POLE, config, seed=seed) for seed in (0, 0, 1))
    update = learner.update
    learner.update = lambda columns: (seen.append(columns["obs"]), update(columns))[1]
    learner.fit(dataset, epochs=2, batch_size=16)
    assert [len(part) for part in seen] == [16, 16, 16, 2] * 2
    first, second = np.concatenate(seen[:4]), np.concatenate(seen[4:])
    assert not np.array_equal(first, second)
    for epoch in (first, second):
        np.testing.assert_array_equal(np.sort(epoch, axis=0), np.sort(learner.columns(dataset)["obs"], axis=0))
    other.fit(dataset, epochs=2, batch_size=16)
    assert_equal(weights(learner), weights(other))
    third.agent.critic.load_state_dict(QLearner(POLE, config, seed=0).agent.critic.state_dict())
    third.fit(dataset, epochs=2, batch_size=16)
    assert not torch.equal(weights(third)["online.weights.0"], weights(other)["online.weights.0"])


def test_playing_learns_and_the_same_seed_gives_the_same_weights():
    config = DoubleDQNConfig(optimizer="adam", lr=1e-3, batch_size=64, epochs=1, gamma=0.9, epsilon_steps=2000)
    curves, learners = [], []
    for _ in range(2):
        learner = QLearner(ROBOT, config, seed=1)
        curves.append(learner.train(4000, evaluate_every=2000, episodes=5))
        learners.append(learner)
    assert curves[0].steps.tolist() == [0, 2000, 4000]
    np.testing.assert_array_equal(curves[0].returns, curves[1].returns)
    assert_equal(weights(learners[0]), weights(learners[1]))
    assert curves[0].returns[0] < -10
    assert curves[0].returns[-1] > -3  # two steps to the goal, which is 0.22 away
    assert learners[0].steps == 4000
    assert learners[0].agent.updates == (4000 - 256) // 4 + 1
    assert learners[0].act(np.zeros((3, 2), dtype=np.float32)).shape == (3, 2)


def test_transitions_at_the_end_of_an_episode_bootstrap_from_its_last_observation(monkeypatch):
    """A robot that is truncated at its 3rd step: next_obs is where it went, not the start of the next episode."""
    task = Task("short", "PointRobot-v0", {"goal_x": 0.5, "goal_y": 0.5}, {"max_episode_steps": 3})
    learner = QLearner(task, DoubleDQNConfig(learning_starts=1, batch_size=32, epochs=1), num_envs=2)
    seen = []
    update = learner.update
    monkeypatch.setattr(learner, "update", lambda c: (seen.append(dict(c)), update(c))[1])
    learner.train(60, episodes=1)
    for batch in seen:
        moved = batch["obs"] + learner.spaces.table[batch["action"]]
        np.testing.assert_allclose(batch["next_obs"], moved, atol=1e-6)
        assert not batch["terminated"].any()
    lengths = np.abs(np.concatenate([b["next_obs"] for b in seen])).max(axis=1)
    assert lengths.max() > 0.25  # third steps are among them


def test_playing_on_counts_the_steps_before():
    """Epsilon and learning_starts go by all steps, and the replay keeps what it has."""
    config = DoubleDQNConfig(hidden=(8,), batch_size=16, epochs=1, learning_starts=100)
    learner = QLearner(ROBOT, config, num_envs=4)
    replay, met = learner.make_replay(1000, seed=0), []
    act = learner.agent.act
    learner.agent.act = lambda obs, step: (met.append(step), act(obs, step))[1]
    assert np.isnan(learner.play(80, replay, seed=1))  # not started to learn
    assert np.isfinite(learner.play(80, replay, seed=2))
    assert met == list(range(0, 160, 4))
    assert learner.agent.updates == 60 // 4 + 1
    assert len(replay) == 160


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"obs": np.zeros(3, np.float32)}, r"transition\['obs'\] has shape \(3,\); must be \(4,\)"),
        ({"next_obs": np.zeros((1, 4), np.float32)}, r"transition\['next_obs'\] has shape \(1, 4\)"),
        ({"reward": np.nan}, r"transition\['reward'\] is nan; must be finite"),
        ({"action": 2}, r"transition\['action'\] is 2; must be in Discrete\(2\)"),
        ({"action": -1}, r"transition\['action'\] is -1"),
    ],
)
def test_mistakes_in_a_transition_are_named_and_change_nothing(change, message):
    learner = QLearner(POLE)
    before = weights(learner)
    good = next(rows(recorded(POLE, 1)))
    with pytest.raises(ValueError, match=message):
        learner.partial_fit({**good, **change})
    with pytest.raises(ValueError, match="the transition has no 'terminated'; must have obs, action"):
        learner.partial_fit({name: good[name] for name in NAMES[:-1]})
    assert_equal(before, weights(learner))
    assert learner.agent.updates == 0


def test_other_mistakes_are_named():
    learner = QLearner(POLE)
    with pytest.raises(ConfigError, match=r"differ in their observation space: shape \(2,\) against \(4,\)"):
        learner.fit(recorded(ROBOT, 8))
    for name in ("epochs", "batch_size"):
        with pytest.raises(ValueError, match=f"{name} is 0; must be an integer >= 1"):
            learner.fit(recorded(POLE, 8), **{name: 0})
    with pytest.raises(ValueError, match="steps is 0; must be >= 1"):
        learner.train(0)
    with pytest.raises(ConfigError, match="learner 'pole' and task 'robot' differ in their observation space"):
        learner.train(100, ROBOT)
    with pytest.raises(ConfigError, match="n_step=3: a QLearner learns from single transitions"):
        QLearner(POLE, DoubleDQNConfig(n_step=3))
    with pytest.raises(ConfigError, match="config is a CderConfig; a QLearner needs a DoubleDQNConfig or"):
        QLearner(POLE, CderConfig())
    with pytest.raises(ConfigError, match="context='task_id': a sub-agent has one task"):
        QLearner(POLE, DoubleDQNConfig(context="task_id"))
    with pytest.raises(TrainingDivergedError, match=r"loss is (nan|inf)"):
        QLearner(POLE, DoubleDQNConfig(lr=1e30)).fit(recorded(POLE, 64), epochs=3)
