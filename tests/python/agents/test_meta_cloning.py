"""Behaviour cloning of several tasks: losses by hand, contexts, and tasks that ask for opposite actions."""

import numpy as np
import pytest
import torch

from metarl_core import ConfigError
from metarl_core.agents.baselines.dqn import DoubleDQNConfig
from metarl_core.agents.meta import ClonedPolicy, CloningConfig, QLearner, demonstrate
from metarl_core.errors import CheckpointFormatError
from metarl_core.runs import write_checkpoint
from metarl_core.tasks import MetaTask, Task, TaskDataset, task_family

SMALL = CloningConfig(hidden=(16,), reference_steps=512, embedding_features=16, contexts=4, batch_size=32)


def goal_of(task):
    return np.array([task.params["goal_x"], task.params["goal_y"]], dtype=np.float32)


def straight(task):
    """The expert: the shortest way to the goal."""
    goal = goal_of(task)
    return lambda obs: np.clip(goal - obs, -0.1, 0.1)


def robots(train=4, test=2):
    family = task_family("PointRobot-v0", split="random")
    return MetaTask.from_family("PointRobot-v0", {"train": train, "test": test}, family=family)


@pytest.fixture(scope="module")
def shown():
    return demonstrate(robots(), straight, episodes=4, noise=0.5)


def test_demonstrations_hold_what_the_expert_would_have_done(shown):
    assert shown.parts == robots().parts
    replaced = []
    for task in shown:
        data = shown.datasets[task.name]
        assert len(data.episodes) == 4
        np.testing.assert_allclose(data.actions, straight(task)(data.obs), atol=1e-7)
        moved = data.next_obs - data.obs
        replaced.append(np.abs(moved - data.actions).max(axis=1) > 1e-6)
        assert np.abs(moved).max() <= 0.1 + 1e-6
    assert 0.4 < np.concatenate(replaced).mean() < 0.6
    plain = demonstrate(robots(), straight, episodes=4)
    for task in plain:
        data = plain.datasets[task.name]
        np.testing.assert_allclose(data.next_obs - data.obs, data.actions, atol=1e-6)
        np.testing.assert_allclose(data.next_obs[data.terminated], [goal_of(task)] * 4, atol=0.011)
    with pytest.raises(ValueError, match=r"noise is 1\.5; must be in \[0, 1\]"):
        demonstrate(robots(), straight, noise=1.5)


def forward(policy, obs, context):
    """The network in float64."""
    net = policy.network
    h = np.concatenate((obs, np.broadcast_to(context, (len(obs), len(context)))), axis=1).astype(np.float64)
    pairs = list(zip(net.weights, net.biases, strict=True))
    for layer, (weight, bias) in enumerate(pairs):
        w, b = (p.detach().double().numpy() for p in (weight, bias))
        h = (np.maximum(h, 0) if layer else h) @ (w[0] if layer else w) + b.reshape(-1)
    return h


def test_losses_against_numpy(shown):
    policy = ClonedPolicy(shown, SMALL)
    data = shown.datasets[shown[1].name]
    context = policy.examples[1][0]
    unit = data.actions / 0.1
    expected = ((forward(policy, data.obs, context) - unit) ** 2).mean()
    targets = policy.demonstrations[1][1]
    np.testing.assert_allclose(targets, unit, rtol=1e-5, atol=1e-6)
    found = policy.loss(policy.inputs(data.obs, context), torch.from_numpy(targets))
    assert found.item() == pytest.approx(expected, rel=1e-5)

    poles = MetaTask([Task(f"{x}", "CartPole-v1", {"length": x}) for x in (0.2, 0.6, 1.0)])
    poles = demonstrate(poles, lambda task: lambda obs: (obs[:, 2] > 0).astype(np.int64), episodes=2)
    policy = ClonedPolicy(poles, SMALL)
    obs, action = policy.demonstrations[2]
    np.testing.assert_array_equal(action, poles.datasets["1.0"].actions)
    logits = forward(policy, obs, policy.examples[2][3])
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(chances[np.arange(len(action)), action]).mean()
    found = policy.loss(policy.inputs(obs, policy.examples[2][3]), torch.from_numpy(action))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_contexts_are_principal_components(shown):
    policy = ClonedPolicy(shown, SMALL)
    contexts = policy.contexts
    assert contexts.size == 3  # of four training tasks
    assert len(policy.demonstrations) == 4
    np.testing.assert_allclose(contexts.axes @ contexts.axes.T, np.eye(3), atol=1e-12)
    dataset = shown.datasets[shown[0].name]
    reference = TaskDataset.record("PointRobot-v0", steps=300, task=shown[0].params, seed=3)
    vector = contexts.embedding.vector(reference)
    np.testing.assert_allclose(contexts(reference) * contexts.scale, contexts.axes @ vector)
    assert dataset.metadata["policy"].startswith("the expert")
    assert policy.examples[0].shape == (4, 3)
    assert ClonedPolicy(shown, SMALL, conditioned=False).network.in_features == 2
    assert policy.network.in_features == 5


def test_tasks_with_opposite_actions_are_told_apart():
    """Short poles are pushed left, long ones right: the observations say nothing, a few episodes do."""
    lengths = {"train": (0.2, 0.3, 0.4, 1.6, 1.8, 2.0), "test": (0.25, 0.35, 1.7, 1.9)}
    tasks = [Task(f"{x}", "CartPole-v1", {"length": x}) for x in (*lengths["train"], *lengths["test"])]
    meta = MetaTask(tasks, parts={part: [f"{x}" for x in values] for part, values in lengths.items()})

    def push(task):
        return lambda obs: np.full(len(obs), int(task.params["length"] > 1), dtype=np.int64)

    shown = demonstrate(meta, push, episodes=60, noise=1.0)  # otherwise velocities tell who pushed before
    config = CloningConfig(hidden=(32,), reference_steps=2048, contexts=16)
    policy, plain = (ClonedPolicy(shown, config, conditioned=c) for c in (True, False))
    assert np.mean(policy.fit(400)[-20:]) < 0.1
    plain.fit(400)
    obs = np.random.default_rng(0).uniform(-0.2, 0.2, (500, 4)).astype(np.float32)
    wrong, plain_wrong = [], []
    for task in meta.splits().test:
        wanted = int(task.params["length"] > 1)
        for one, found in ((policy, wrong), (plain, plain_wrong)):
            one.adapt(task, 10)
            found.append((one.act(obs) != wanted).mean())
    assert np.mean(wrong) < 0.05
    assert np.mean(plain_wrong) == pytest.approx(0.5)


def test_on_held_out_goals_the_context_is_worth_more_than_the_mean_task():
    tasks = robots(12, 6)
    shown = demonstrate(tasks, straight, episodes=8, noise=0.6)
    policy, plain = (ClonedPolicy(shown, CloningConfig(contexts=16), conditioned=c) for c in (True, False))
    for one in (policy, plain):
        losses = one.fit(1200)
        assert np.mean(losses[-50:]) < np.mean(losses[:50])
    found = {"ten": [], "none": [], "plain": []}
    for task in tasks.splits().test:
        policy.adapt(task, 10)
        found["ten"].append(policy.evaluate(task, episodes=1)[0])
        policy.adapt(task, 0)
        found["none"].append(policy.evaluate(task, episodes=1)[0])
        found["plain"].append(plain.evaluate(task, episodes=1)[0])
    ten, none, unconditioned = (np.array(found[name]) for name in ("ten", "none", "plain"))
    assert ten.mean() > 0.6 * none.mean()  # returns are negative
    assert ten.mean() > 0.5 * unconditioned.mean()
    assert (ten > unconditioned).mean() >= 5 / 6


def test_a_trained_agent_can_show_how():
    task = Task("(0.3, 0.2)", "PointRobot-v0", {"goal_x": 0.3, "goal_y": 0.2})
    config = DoubleDQNConfig(optimizer="adam", lr=1e-3, batch_size=32, epochs=1, gamma=0.9, epsilon_steps=1500)
    learner = QLearner(task, config)
    learner.train(4000, episodes=1)
    shown = demonstrate(MetaTask([task]), lambda _: learner.act, episodes=8, noise=0.5)
    clone = ClonedPolicy(shown, CloningConfig(hidden=(64,), lr=3e-3), conditioned=False)
    clone.fit(1500)
    data = shown.datasets[task.name]
    by_a_constant = np.abs(data.actions - data.actions.mean(axis=0)).mean()
    assert np.abs(clone.act(data.obs) - data.actions).mean() < 0.6 * by_a_constant
    assert clone.evaluate(task, episodes=1)[0] > -15  # one that stays at the start has -36


def test_the_same_seed_gives_the_same_policy_and_a_saved_one_acts_alike(shown, tmp_path):
    first, second, other = (ClonedPolicy(shown, SMALL, seed=seed) for seed in (0, 0, 1))
    assert first.fit(30) == second.fit(30)
    assert other.fit(30) != first.fit(30)
    obs = np.random.default_rng(0).uniform(-1, 1, (20, 2)).astype(np.float32)
    first.adapt(shown.splits().test[0], 3)
    first.save(tmp_path / "clone.ckpt")
    again = ClonedPolicy.load(tmp_path / "clone.ckpt")
    np.testing.assert_array_equal(again.act(obs), first.act(obs))
    found = [one.adapt(shown.splits().test[1], 2) for one in (first, again)]
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(again.act(obs), first.act(obs))
    with pytest.raises(ConfigError, match="a policy that was loaded has no demonstrations"):
        again.fit(1)
    write_checkpoint(tmp_path / "x.ckpt", {"format": "something"})
    with pytest.raises(CheckpointFormatError, match="holds no ClonedPolicy"):
        ClonedPolicy.load(tmp_path / "x.ckpt")
    plain = ClonedPolicy(shown, SMALL, conditioned=False)
    plain.save(tmp_path / "plain.ckpt")
    np.testing.assert_array_equal(ClonedPolicy.load(tmp_path / "plain.ckpt").act(obs), plain.act(obs))


def test_mistakes_are_named(shown):
    two = shown.subset(shown.names[:2])
    with pytest.raises(ConfigError, match="a policy conditioned on the task needs at least 3 tasks, and there are 2"):
        ClonedPolicy(two, SMALL)
    assert ClonedPolicy(two, SMALL, conditioned=False).fit(1)
    with pytest.raises(ConfigError, match="has no data; give it in MetaTask"):
        ClonedPolicy(robots(), SMALL)
    pole = Task("pole", "CartPole-v1")
    other = {task.name: TaskDataset.record("CartPole-v1", steps=20) for task in robots()}
    with pytest.raises(ConfigError, match=r"the demonstrations of .* differ in their observation space"):
        ClonedPolicy(MetaTask(robots(), other), SMALL)
    policy = ClonedPolicy(shown, SMALL)
    with pytest.raises(ConfigError, match="the policy and the new task differ in their observation space"):
        policy.adapt(pole)
    with pytest.raises(ValueError, match="episodes is -1; must be an integer >= 0"):
        policy.adapt(shown[0], -1)
    with pytest.raises(ValueError, match="updates is 0; must be >= 1"):
        policy.fit(0)
    with pytest.raises(ConfigError, match="components=0: must be >= 1"):
        CloningConfig(components=0)
