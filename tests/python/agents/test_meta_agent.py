"""Sub-agents behind routers: IMT's own weights, few-shot adaptation, fine-tuning, bit-exact checkpoints."""

import dataclasses

import numpy as np
import pytest
import torch
from run_helpers import run_to_end

from metarl_core import ConfigError, make_vec
from metarl_core.agents import evaluate, resolve_config
from metarl_core.agents.baselines.bootdqn import BootstrappedDQNConfig
from metarl_core.agents.baselines.dqn import DoubleDQNConfig
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.continuous_config import ContinuousCderConfig
from metarl_core.agents.imt import ImtConfig, ImtLearner
from metarl_core.agents.imt.aggregation import weight_soup
from metarl_core.agents.imt.outcomes import Adapted
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.meta import (
    ROUTERS,
    BestSingleRouter,
    EmbeddingRouter,
    MetaAgent,
    QLearner,
    ReturnRouter,
    SubAgent,
    UniformRouter,
)
from metarl_core.agents.meta.networks import learner_from, soup
from metarl_core.agents.meta.playing import record
from metarl_core.errors import CheckpointFormatError
from metarl_core.runs import write_checkpoint
from metarl_core.tasks import Task

GOALS = [(0.5, 0.0), (0.0, 0.5), (-0.5, 0.0), (0.0, -0.5)]
SMALL = DoubleDQNConfig(hidden=(8,), optimizer="adam", lr=1e-3, epochs=1)
SMALL_IMT = {
    "hidden": (16,),
    "predictor_hidden": (16,),
    "reference_steps": 400,
    "embedding_features": 8,
    "pretrain_updates": 20,
    "rounds": 2,
    "steps_per_round": 60,
    "submodel_updates": 15,
    "head_updates": 10,
    "batch_size": 16,
    "replay_capacity": 2000,
}


def robot(x, y, name=None):
    return Task(f"({x}, {y})" if name is None else name, "PointRobot-v0", {"goal_x": x, "goal_y": y})


def walker(x, y, seed=0):
    """A learner that always goes a step of (0.1 sign(x), 0.1 sign(y))."""
    made = QLearner(robot(x, y), SMALL, seed=seed)
    wanted = np.abs(made.spaces.table - 0.1 * np.sign([x, y])).sum(axis=1).argmin()
    with torch.no_grad():
        made.agent.critic.online.biases[-1][0, 0, wanted] += 100
    return made


def walkers():
    return [walker(x, y, seed=i) for i, (x, y) in enumerate(GOALS)]


def meta(router=None, **options):
    return MetaAgent(walkers(), router or EmbeddingRouter(steps=1024), **options)


@pytest.fixture(scope="module")
def imt():
    tasks = {"goal_x": np.array([0.3, -0.3, 0.2, -0.4]), "goal_y": np.array([0.1, 0.4, -0.3, -0.2])}
    learner = ImtLearner("PointRobot-v0", tasks, ImtConfig.from_preset("corrected", **SMALL_IMT))
    learner.train()
    return learner


def states(n=50, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, 2)).astype(np.float32)


# Sub-agents


@pytest.mark.parametrize(
    ("algorithm", "env", "options"),
    [
        ("ddqn", "CartPole-v1", ["length=0.7"]),
        ("cder", "CartPole-v1", ["members=3", "signal_members=2"]),
        ("cder", "DeepSea-v0", ["size=5", "evaluation=best"]),
        ("cder", "Pendulum-v1", ["members=2"]),
        ("rnd", "FrozenLake-v1", []),
    ],
)
def test_a_run_as_sub_agent_plays_as_metarl_eval_does(algorithm, env, options, tmp_path):
    settings = ["total_steps=600", "evaluation_episodes=0", "batch_size=16", *options]
    run_to_end(resolve_config(algorithm, env, None, settings), tmp_path)
    agent = SubAgent.from_run(tmp_path)
    assert agent.algorithm == algorithm
    if options == ["length=0.7"]:
        assert dict(agent.task.params) == {"length": 0.7}
    expected = evaluate(tmp_path, episodes=6, seed=3)["returns"]
    np.testing.assert_allclose(np.sort(agent.evaluate(episodes=6, seed=3)), np.sort(expected), rtol=1e-6)
    again = SubAgent.from_state(agent.state_dict())
    played = record(agent.task, "random", steps=40)
    np.testing.assert_array_equal(agent.act(played.obs), again.act(played.obs))
    if agent.valued:
        heads = agent.agent.critic(agent.network_input(played.obs))
        q = heads[agent.agent.policy.best_head] if "evaluation=best" in options else heads.double().mean(dim=0).float()
        torch.testing.assert_close(agent.values(played.obs), q)
        assert torch.equal(agent.values(played.obs), again.values(played.obs))


def test_submodels_of_imt_as_sub_agents(imt):
    agents = MetaAgent.from_imt(imt).sub_agents
    obs = states()
    # IMT learns from scaled rewards; what goes on learning from a sub-agent takes rewards as they are.
    assert imt.reward_factor > 1.5
    q = imt.models.q(imt.models.rows_for_all(torch.from_numpy(obs))) / float(imt.reward_factor)
    # Alone and in one batch with the others a network's sums may be taken in another order.
    torch.testing.assert_close(torch.stack([agent.values(obs) for agent in agents]), q, rtol=1e-5, atol=1e-6)
    assert dict(agents[2].task.params) == {"goal_x": 0.2, "goal_y": -0.3}
    assert [agent.accuracy for agent in agents] == list(imt.accuracy)
    target = agents[1].agent.critic.target(agents[1].network_input(obs))[0]
    torch.testing.assert_close(target, q[1])


def test_submodels_of_imt_on_discrete_observations():
    tasks = {"map_seed": np.array([1.0, 2.0, 3.0])}
    learner = ImtLearner("FrozenLake-v1", tasks, ImtConfig.from_preset("corrected", **SMALL_IMT))
    learner.train()
    agents = MetaAgent.from_imt(learner, router=UniformRouter()).sub_agents
    q = learner.models.q(learner.models.rows_for_all(torch.eye(16))) / float(learner.reward_factor)
    found = torch.stack([agent.values(np.arange(16)) for agent in agents])
    torch.testing.assert_close(found, q)


def test_submodels_of_imt_on_images():
    tasks = {"sticky_action_prob": np.array([0.0, 0.3, 0.6])}
    options = {**SMALL_IMT, "conv_filters": (4, 5), "conv_kernel": 2}
    learner = ImtLearner("MinAtar/Breakout-v1", tasks, ImtConfig.from_preset("corrected", **options))
    learner.train()
    agent = MetaAgent.from_imt(learner)
    obs = record(agent.sub_agents[0].task, "random", steps=30).obs
    obs = obs.copy()
    assert obs.shape[1:] == (10, 10, 4)
    factor = float(learner.reward_factor)
    q = learner.models.q(learner.models.rows_for_all(torch.from_numpy(obs))) / factor
    torch.testing.assert_close(torch.stack([one.values(obs) for one in agent.sub_agents]), q)
    agent.adapt(Task("new", "MinAtar/Breakout-v1", {"sticky_action_prob": 0.15}), 3)
    mixed = weight_soup(learner.models, agent.weights)(torch.from_numpy(obs)[None])[0]
    torch.testing.assert_close(agent._acting_alone().values(obs), mixed / factor)


# Routing


@pytest.mark.parametrize("routing", ["mixture", "affine", "leave_one_out", "similarity"])
def test_weights_are_those_of_imt(imt, routing, monkeypatch):
    monkeypatch.setattr(imt, "config", dataclasses.replace(imt.config, routing=routing))
    agent = MetaAgent.from_imt(imt)
    task = {"goal_x": 0.1, "goal_y": -0.25}
    dataset = imt.reference_policy.record(task, 400, 5)
    vectors = imt.embedding.vector(dataset)[None]
    met = Adapted({}, imt.embed([dataset]), np.zeros((0, 0)), np.array([len(dataset)]), vectors)
    expected = imt.reweigh(met, routing).weights[:, 0]
    np.testing.assert_allclose(agent.router.weigh(dataset, imt.accuracy), expected, rtol=1e-12)
    assert np.ptp(expected) > 0.05
    soft = agent.adapt(robot(0.1, -0.25), 4)
    assert soft.weights.sum() == pytest.approx(1)
    assert (soft.episodes, soft.steps) == (4, 400)
    mixed = weight_soup(imt.models, soft.weights)(torch.from_numpy(states())[None])[0]
    np.testing.assert_array_equal(agent.act(states()), agent.spaces.table[mixed.argmax(dim=1).numpy()])


def test_a_known_task_is_routed_to_its_own_agent():
    agent = meta(EmbeddingRouter(steps=8192))
    for number, goal in enumerate(GOALS):
        found = agent.adapt(robot(*goal, name="again"), 40, seed=7)
        assert found.weights.argmax() == number
        assert found.weights.max() > 0.6
    half = agent.adapt(robot(0.25, 0.25), 40)
    assert set(np.argsort(half.weights)[-2:]) == {0, 1}
    assert half.weights[:2].sum() > 0.7


def test_an_environment_can_be_given_in_place_of_a_task():
    agent = meta(EmbeddingRouter(steps=8192))
    envs = make_vec("PointRobot-v0", 8, seed=0, autoreset_mode="next_step", goal_x=0.5, goal_y=0.0)
    found = agent.adapt(envs, 40)
    assert found.weights.argmax() == 0
    assert agent.evaluate(episodes=3).shape == (3,)
    assert not envs.closed
    with pytest.raises(ConfigError, match="adapted to an environment, which fine_tune cannot make again"):
        agent.fine_tune(100)
    envs.close()


@pytest.mark.parametrize("name", ROUTERS)
def test_without_episodes_nothing_is_known(name):
    agent = meta(ROUTERS[name]())
    found = agent.adapt(robot(0.3, 0.3), 0)
    assert (found.episodes, found.steps) == (0, 0)
    expected = [1, 0, 0, 0] if name == "best" else [0.25] * 4
    np.testing.assert_array_equal(found.weights, expected)


def test_best_single_keeps_the_largest_weight_of_the_other_router():
    inner = EmbeddingRouter(steps=1024)
    agent, best = meta(inner), meta(BestSingleRouter(EmbeddingRouter(steps=1024)))
    soft, hard = (a.adapt(robot(0.1, 0.3), 5).weights for a in (agent, best))
    np.testing.assert_array_equal(hard, np.eye(4)[soft.argmax()])
    np.testing.assert_array_equal(best.act(states()), best.sub_agents[soft.argmax()].act(states()))


@pytest.mark.parametrize("episodes", [1, 3, 4, 9])
def test_returns_choose_the_agent_that_does_best(episodes):
    """Walkers go straight on, so that every return is known: minus the sum of the distances, until the goal."""
    agent = meta(ReturnRouter())
    goal = np.array([-0.5, 0.0])
    found = agent.adapt(robot(*goal), episodes, seed=3)
    positions = 0.1 * np.arange(1, 101)[None, :, None] * np.sign(GOALS)[:, None, :]
    distances = np.linalg.norm(positions - goal, axis=2)
    exact = -distances.sum(axis=1)
    exact[2] = -distances[2, :5].sum()  # there after five steps
    played = ~np.isnan(found.returns)
    assert played.sum() == min(episodes, 4)
    np.testing.assert_allclose(found.returns[played], exact[played], rtol=1e-4)
    assert found.weights.argmax() == np.flatnonzero(played)[exact[played].argmax()]
    assert found.weights.max() == 1
    assert found.episodes == episodes
    lengths = np.where(np.arange(4) == 2, 5, 100)
    assert episodes != 4 or found.steps == lengths.sum()
    assert episodes != 9 or found.steps in 2 * lengths.sum() + lengths  # one of them played once more


# Acting


def test_weighted_actions_against_numpy():
    agent = MetaAgent([QLearner(robot(*g), SMALL, seed=i) for i, g in enumerate(GOALS)], EmbeddingRouter(steps=512))
    agent.adapt(robot(0.3, 0.1), 3)
    obs = states(200)
    total = np.zeros((200, 9))
    for v, sub in zip(agent.weights, agent.sub_agents, strict=True):
        q = sub.values(obs).double().numpy()
        total += v * (q - q.mean(axis=1, keepdims=True)) / q.std(axis=1, keepdims=True)
    margin = np.sort(total, axis=1)
    clear = margin[:, -1] - margin[:, -2] > 1e-5
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(agent.act(obs)[clear], agent.spaces.table[total.argmax(axis=1)][clear])
    assert len(np.unique(total.argmax(axis=1))) > 1


def test_agents_of_several_kinds_act_together():
    task = Task("pole", "CartPole-v1")
    kinds = [
        SubAgent(task, "cder", CderConfig(members=3)),
        SubAgent(task, "ddqn", DoubleDQNConfig(normalize_obs=False)),
        QLearner(task, BootstrappedDQNConfig(members=2)),
    ]
    agent = MetaAgent(kinds, UniformRouter(), aggregation="vote")
    obs = record(task, "random", steps=100).obs
    votes = np.stack([kind.values(obs).argmax(dim=1).numpy() for kind in kinds]).sum(axis=0)
    np.testing.assert_array_equal(agent.act(obs), votes >= 2)


def test_a_soup_is_the_average_of_all_weights():
    agents = walkers()
    mixed = soup(agents, [0.1, 0.2, 0.3, 0.4])
    for i, own in enumerate(mixed.agent.critic.online.parameters()):
        parts = [list(a.agent.critic.online.parameters())[i].detach().numpy().astype(np.float64) for a in agents]
        np.testing.assert_allclose(own.detach().numpy(), np.tensordot([0.1, 0.2, 0.3, 0.4], parts, axes=1), rtol=1e-6)
    same = soup([agents[1], agents[1]], [0.3, 0.7])
    assert torch.equal(same.values(states()), agents[1].values(states()))
    for one in (same, mixed):
        x = one.network_input(states())
        assert torch.equal(one.agent.critic.target(x), one.agent.critic.online(x))


def test_agents_with_continuous_actions_of_their_own_take_turns():
    tasks = [Task(f"g={g}", "Pendulum-v1", {"g": g}) for g in (5.0, 10.0, 15.0)]
    kinds = [SubAgent(t, "cder", ContinuousCderConfig(members=2), seed=i) for i, t in enumerate(tasks)]
    with pytest.raises(ConfigError, match=r"sub-agent 'g=5\.0' \(cder\) has no action values; set aggregation=best"):
        MetaAgent(kinds)
    agent = MetaAgent(kinds, EmbeddingRouter(steps=1024), aggregation="best")
    agent.adapt(Task("new", "Pendulum-v1", {"g": 14.0}), 3)
    obs = record(tasks[0], "random", steps=20).obs
    chosen = kinds[int(agent.weights.argmax())]
    np.testing.assert_array_equal(agent.act(obs), chosen.act(obs))
    assert agent.act(obs).shape == (20, 1)
    assert agent.evaluate(episodes=2).shape == (2,)
    with pytest.raises(ConfigError, match="has no action values to go on from"):
        agent.fine_tune(10)


# Fine-tuning


def test_fine_tuning_goes_on_from_the_soup_and_leaves_the_sub_agents(imt):
    agent = MetaAgent.from_imt(imt)
    task = robot(0.25, 0.2)
    agent.adapt(task, 5)
    before = [agent.values(states()) for agent in agent.sub_agents]
    alone = agent.evaluate(episodes=5, seed=purpose_seed(11, "curve")).mean()
    curve = agent.fine_tune(3000, seed=11, episodes=5)
    assert curve.returns[0] == pytest.approx(alone)
    assert curve.returns[-1] > alone + 5
    assert agent.evaluate(episodes=5).mean() == pytest.approx(curve.returns[-1])
    assert all(torch.equal(a, b.values(states())) for a, b in zip(before, agent.sub_agents, strict=True))
    agent.adapt(task, 5)
    assert agent.tuned is None
    assert agent.evaluate(episodes=5, seed=purpose_seed(11, "curve")).mean() == pytest.approx(alone)


def test_an_ensemble_is_tuned_with_its_heads_and_priors():
    task = Task("pole", "CartPole-v1")
    cder = SubAgent(task, "cder", CderConfig(members=3, prior_scale=2.0, hidden=(16,)))
    learner = learner_from(cder, lr=1e-3)
    obs = record(task, "random", steps=50).obs
    assert torch.equal(learner.values(obs), cder.values(obs))
    assert learner.config.members == 3
    agent = MetaAgent([cder], UniformRouter())
    agent.adapt(task, 0)
    agent.fine_tune(400, episodes=1)
    assert not torch.equal(agent.tuned.values(obs), cder.values(obs))
    prior = agent.tuned.agent.critic.prior(agent.tuned.network_input(obs))
    torch.testing.assert_close(prior, cder.agent.critic.prior(cder.network_input(obs)))


# Saving


@pytest.mark.parametrize("tuned", [False, True])
def test_a_saved_agent_acts_and_learns_as_before_bit_for_bit(imt, tuned, tmp_path):
    agent = MetaAgent.from_imt(imt)
    agent.adapt(robot(0.2, 0.1), 3)
    if tuned:
        agent.fine_tune(300, episodes=1)
    agent.save(tmp_path / "agent.ckpt")
    again = MetaAgent.load(tmp_path / "agent.ckpt")
    np.testing.assert_array_equal(again.weights, agent.weights)
    np.testing.assert_array_equal(again.act(states()), agent.act(states()))
    assert (again.tuned is not None) == tuned
    again.save(tmp_path / "again.ckpt")
    assert (tmp_path / "again.ckpt").read_bytes() == (tmp_path / "agent.ckpt").read_bytes()
    pair = (agent, again)
    if tuned:  # the learners themselves go on alike
        for one in pair:
            one.tuned.train(300, episodes=1, seed=9)
        assert torch.equal(*(one.tuned.values(states()) for one in pair))
    found = [one.adapt(robot(-0.3, 0.1), 3).weights for one in pair]
    np.testing.assert_array_equal(*found)
    curves = [one.fine_tune(300, episodes=1).returns for one in pair]
    np.testing.assert_array_equal(*curves)
    assert torch.equal(*(one.tuned.values(states()) for one in pair))


@pytest.mark.parametrize("router", [UniformRouter(), ReturnRouter(), BestSingleRouter(EmbeddingRouter(steps=512))])
def test_every_router_is_saved(router, tmp_path):
    agent = meta(router)
    agent.adapt(robot(0.4, 0.0), 4)
    agent.save(tmp_path / "a.ckpt")
    again = MetaAgent.load(tmp_path / "a.ckpt")
    np.testing.assert_array_equal(again.weights, agent.weights)
    np.testing.assert_array_equal(*(one.adapt(robot(0.1, 0.4), 4).weights for one in (agent, again)))


def test_other_files_are_refused(tmp_path):
    write_checkpoint(tmp_path / "x.ckpt", {"format": "something"})
    with pytest.raises(CheckpointFormatError, match=r"x\.ckpt holds no MetaAgent"):
        MetaAgent.load(tmp_path / "x.ckpt")
    write_checkpoint(tmp_path / "x.ckpt", {"format": "metarl_core.MetaAgent", "version": 2})
    with pytest.raises(CheckpointFormatError, match="has version 2 of a MetaAgent; known is 1"):
        MetaAgent.load(tmp_path / "x.ckpt")


# Mistakes


def test_mistakes_are_named(tmp_path):
    one, two = walker(0.5, 0.0), walker(0.0, 0.5)
    pole = QLearner(Task("pole", "CartPole-v1"), SMALL)
    for given, router, options, message in (
        ([], None, {}, "sub_agents is empty"),
        ([one, pole], None, {}, r"sub-agents '\(0.5, 0.0\)' and 'pole' differ in their observation space: shape"),
        ([one, two], None, {}, "router 'embedding' needs the tasks of at least 3 sub-agents, and there are 2"),
        ([one], None, {}, "at least 3 sub-agents, and there is 1"),
        ([one], ReturnRouter(), {}, "router 'return' chooses by returns, and there is one sub-agent"),
        ([one, two], UniformRouter(), {"aggregation": "sum"}, "aggregation='sum': choose one of weighted"),
        (
            [one, QLearner(robot(0, 0), SMALL, levels=5)],
            UniformRouter(),
            {},
            "choose from 3 and 5 levels of each component",
        ),
        (
            [one, QLearner(robot(0, 0), dataclasses.replace(SMALL, hidden=(9,)))],
            UniformRouter(),
            {"aggregation": "soup"},
            "the sub-agents cannot be averaged: networks",
        ),
        (
            [SubAgent(Task("pole", "CartPole-v1"), "cder", CderConfig(members=2)), pole],
            UniformRouter(),
            {"aggregation": "soup"},
            r"'pole' \(cder\) is not one network; needed is Double DQN",
        ),
        (
            [SubAgent(Task("pole", "CartPole-v1"), "dltv"), pole],
            UniformRouter(),
            {},
            r"aggregation='weighted': sub-agent 'pole' \(dltv\) has no action values; set aggregation=best",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            MetaAgent(given, router, **options)
    agent = MetaAgent([one, two], UniformRouter())
    with pytest.raises(ConfigError, match="the agent is adapted to no task"):
        agent.evaluate()
    with pytest.raises(ConfigError, match="the agent is adapted to nothing yet; call adapt with a Task first"):
        agent.fine_tune(10)
    with pytest.raises(ValueError, match="episodes is -1; must be an integer >= 0"):
        agent.adapt(robot(0, 0), -1)
    with pytest.raises(ConfigError, match="the sub-agents and the new task 'pole' differ in their observation space"):
        agent.adapt(Task("pole", "CartPole-v1"))
    with pytest.raises(TypeError, match="task is a str; must be a Task or a native vector environment"):
        agent.adapt("PointRobot-v0")
    with pytest.raises((TypeError, ValueError), match="goal_z"):
        agent.adapt(Task("x", "PointRobot-v0", {"goal_z": 1.0}))
    assert agent.adaptation is None
    with pytest.raises(ConfigError, match="unknown algorithm of a sub-agent 'sac'"):
        SubAgent(Task("p", "Pendulum-v1"), "sac")
    with pytest.raises(ConfigError, match="config is a CderConfig; ddqn needs a DoubleDQNConfig"):
        SubAgent(Task("p", "CartPole-v1"), "ddqn", CderConfig())
    with pytest.raises(ConfigError, match=r"accuracy is 1\.5; must be in \[0, 1\]"):
        QLearner(Task("p", "CartPole-v1"), SMALL, accuracy=1.5)
    for options, message in (
        ({"routing": "best"}, "routing='best': choose one of mixture, affine, similarity"),
        ({"temperature": 0}, "temperature=0: must be > 0"),
        ({"ridge": -1}, "ridge=-1: must be >= 0"),
        ({"steps": 3}, "steps=3: must be >= 64"),
    ):
        with pytest.raises(ConfigError, match=message):
            EmbeddingRouter(**options)
    for settings, message in (
        (["env_tasks=4"], r"was trained on 4 tasks \(env_tasks\); a sub-agent needs one task"),
        (["reward_threshold=0.5"], r"was trained with reward_threshold=0\.5"),
    ):
        folder = tmp_path / settings[0]
        config = resolve_config("ddqn", "CartPole-v1", None, ["total_steps=20", "evaluation_episodes=0", *settings])
        run_to_end(config, folder)
        with pytest.raises(ConfigError, match=message):
            SubAgent.from_run(folder)


def test_the_article_s_embedding_of_the_common_trunk_cannot_be_kept():
    tasks = {"goal_x": np.array([0.3, -0.3, 0.2]), "goal_y": np.array([0.1, 0.4, -0.3])}
    options = {**SMALL_IMT, "embedding": "common", "routing": "similarity"}
    learner = ImtLearner("PointRobot-v0", tasks, ImtConfig.from_preset("corrected", **options))
    with pytest.raises(ConfigError, match="embedding='common': vectors of the common trunk cannot be routed by"):
        MetaAgent.from_imt(learner)
    assert len(MetaAgent.from_imt(learner, router=UniformRouter()).sub_agents) == 3


def test_sub_agents_that_are_none_or_have_one_task():
    with pytest.raises(TypeError, match=r"sub_agents\[1\] must be a SubAgent, such as a QLearner, got int"):
        MetaAgent([walker(0.5, 0.0), 2])
    with pytest.raises(ConfigError, match=r"all 3 sub-agents have the same, Task.*; choose router 'return'"):
        MetaAgent([walker(0.5, 0.0, seed=i) for i in range(3)])
    assert MetaAgent([walker(0.5, 0.0, seed=i) for i in range(3)], UniformRouter()).act(states()).shape == (50, 2)


@pytest.mark.parametrize("aggregation", ["weighted", "best"])
def test_observations_that_are_none_of_the_tasks(aggregation):
    agent = meta(UniformRouter(), aggregation=aggregation)
    for obs, message in (
        (
            states()[0],
            r"obs has shape \(2,\); must be \(B, 2\), one observation in every row; .* obs\[None\]",
        ),
        (np.zeros((3, 4), np.float32), r"obs has shape \(3, 4\); must be \(B, 2\)"),
        (np.array([[0, 0], [0, np.nan]], np.float32), r"obs\[1\] is \[ 0\. nan\]; must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            agent.act(obs)
    tables = [QLearner(Task(f"map {i}", "FrozenLake-v1", {"map_seed": i}), SMALL) for i in range(3)]
    agent = MetaAgent(tables, UniformRouter(), aggregation=aggregation)
    with pytest.raises(ValueError, match=r"obs has shape \(\); must be \(B,\), one observation"):
        agent.act(np.int64(3))
    with pytest.raises(ValueError, match=r"obs\[1\] is 16; must be in Discrete\(16\)"):
        agent.act(np.array([15, 16]))
    with pytest.raises(TypeError, match="obs has dtype float64; must be integers"):
        agent.act(np.array([15.0]))
