"""Our vector environments under Tianshou's collectors, step by step against our own and the library's."""

import warnings

import gymnasium
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tianshou")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tianshou.algorithm import DQN
    from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Batch, Collector, CollectStats, VectorReplayBuffer
    from tianshou.env import BaseVectorEnv, DummyVectorEnv, VectorEnvNormObs
    from tianshou.trainer import OffPolicyTrainerParams
    from tianshou.utils.net.common import Net

import metarl_core as mc  # noqa: E402
from metarl_core.integrations.tianshou import (  # noqa: E402
    MetaRLPrioritizedVectorReplayBuffer,
    MetaRLVectorEnv,
    make_vector_env,
)

IDS = ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "DeepSea-v0", "MinAtar/Breakout-v1", "PointRobot-v0"]


def actions_of(space, rng, count):
    if hasattr(space, "n"):
        return rng.integers(space.n, size=count)
    return rng.uniform(space.low, space.high, (count, *space.shape)).astype(np.float32)


@pytest.mark.parametrize("env_id", IDS)
def test_steps_and_resets_are_those_of_our_own(env_id):
    rows = 3
    env = make_vector_env(env_id, rows, seed=5, max_episode_steps=60)
    ours = mc.make_vec(env_id, rows, autoreset_mode="same_step", dense_final_obs=True, max_episode_steps=60)
    obs, infos = env.reset()
    begun, _ = ours.reset(seed=[5, 6, 7])
    assert np.array_equal(obs, begun)
    assert obs.dtype == begun.dtype
    assert infos.tolist() == [{}] * rows
    rng, ends = np.random.default_rng(0), 0
    for _ in range(200):
        actions = actions_of(env.action_space[0], rng, rows)
        obs, reward, terminated, truncated, infos = env.step(torch.from_numpy(actions) if ends % 2 else actions)
        following, r, over, cut, info = ours.step(actions)
        assert np.array_equal(reward, r)
        assert np.array_equal(terminated, over)
        assert np.array_equal(truncated, cut)
        assert [i["env_id"] for i in infos] == [0, 1, 2]
        ended = over | cut
        assert np.array_equal(obs[~ended], following[~ended])
        if ended.any():
            ends += ended.sum()
            assert np.array_equal(obs[ended], info["final_obs"][ended])
            begun, _ = env.reset(np.flatnonzero(ended))
            assert np.array_equal(begun, following[ended])
    assert ends >= rows
    env.close()


@pytest.mark.parametrize("env_id", IDS)
def test_a_step_of_some_rows_leaves_the_others(env_id):
    """Every row plays as it does alone, in whatever order rows are stepped."""
    rows, steps = 4, 70
    env = make_vector_env(env_id, rows, seed=3, max_episode_steps=25)
    alone = [make_vector_env(env_id, 1, seed=3 + row, max_episode_steps=25) for row in range(rows)]
    for row, begun in enumerate(env.reset()[0]):
        assert np.array_equal(alone[row].reset()[0][0], begun)
    rng = np.random.default_rng(1)
    counts = np.zeros(rows, int)
    while counts.min() < steps:
        chosen = rng.permutation(rows)[: rng.integers(1, rows + 1)]
        actions = actions_of(env.action_space[0], rng, len(chosen))
        results = env.step(actions, chosen)
        for j, row in enumerate(chosen):
            single = alone[row].step(actions[j : j + 1])
            for a, b in zip(results[:4], single[:4], strict=True):
                assert np.array_equal(a[j], b[0])
            assert results[4][j]["env_id"] == row
            if single[2][0] or single[3][0]:
                assert np.array_equal(env.reset(int(row))[0][0], alone[row].reset([0])[0][0])
        counts[chosen] += 1


def test_shapes_and_types_are_those_of_the_librarys():
    ours = make_vector_env("CartPole-v1", 3)
    theirs = DummyVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 3)
    assert isinstance(ours, BaseVectorEnv)
    assert len(ours) == len(theirs) == 3
    for a, b in zip(ours.reset(), theirs.reset(), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    for rows in (None, [2, 0], 1):
        actions = np.zeros(3 if rows is None else np.size(rows), int)
        for a, b in zip(ours.step(actions, rows), theirs.step(actions, rows), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert ours.seed(4) == theirs.seed(4) == [[4], [5], [6]]
    assert ours.seed([7, 8, 9]) == [[7], [8], [9]]
    assert ours.seed() == [None] * 3
    assert [space.n for space in ours.action_space] == [space.n for space in theirs.action_space]
    assert ours.observation_space[1].shape == theirs.observation_space[1].shape
    assert ours.get_env_attr("num_envs", [0, 2]) == [3, 3]
    ours.close()
    theirs.close()


def test_seeds():
    first, second = (make_vector_env("CartPole-v1", 3, seed=7) for _ in range(2))
    obs = first.reset()[0]
    assert np.array_equal(obs, second.reset()[0])
    assert not np.array_equal(obs, first.reset()[0])
    assert np.array_equal(first.reset(seed=7)[0], obs)
    assert np.array_equal(first.reset([2, 0], seed=[9, 7])[0][1], obs[0])
    first.seed(7)
    assert np.array_equal(first.reset([1])[0][0], obs[1])
    assert np.array_equal(first.reset([0, 2])[0], obs[[0, 2]])


@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1"])
def test_a_first_reset_of_some_rows(env_id):
    ours, whole = (make_vector_env(env_id, 4, seed=7) for _ in range(2))
    unseeded, other = (make_vector_env(env_id, 4) for _ in range(2))
    for some, full in ((ours, whole), (unseeded, other)):
        wanted = full.reset()[0]
        obs, infos = some.reset([1, 2])
        assert np.array_equal(obs, wanted[[1, 2]])
        assert len(infos) == 2
        with pytest.raises(mc.ResetNeededError, match=r"episodes of rows \[0, 3\] have ended, or not begun"):
            some.step(np.zeros(4, int))
        for row in (some.step([1, 0], [1, 2]), full.step([1, 0], [1, 2])):
            assert row[4][0]["env_id"] == 1
        assert np.array_equal(some.reset([3, 0])[0], wanted[[3, 0]])
        for a, b in zip(some.step([0, 1, 0, 1])[:4], full.step([0, 1, 0, 1])[:4], strict=True):
            assert np.array_equal(a, b)


def test_a_first_reset_of_some_rows_of_environments_of_python():
    env = MetaRLVectorEnv(mc.make_vec([Goal] * 3, autoreset_mode="same_step", backend="serial"))
    obs, _ = env.reset([2, 0])
    assert [part["image"][0, 0] for part in obs] == [0, 0]
    with pytest.raises(mc.ResetNeededError, match=r"rows \[1\]"):
        env.step(np.zeros(3, int))
    env.reset([1])
    assert Batch(obs=env.step(np.zeros(3, int))[0]).obs.image[:, 0, 0].tolist() == [1, 1, 1]
    env.close()


def policy_of(env):
    torch.manual_seed(0)
    net = Net(state_shape=env.observation_space[0].shape, action_shape=(int(env.action_space[0].n),), hidden_sizes=[32])
    return DiscreteQLearningPolicy(
        model=net,
        action_space=env.action_space[0],
        observation_space=env.observation_space[0],
        eps_training=0.3,
        eps_inference=0.3,
    )


def test_the_collector_stores_whole_episodes():
    env = make_vector_env("CartPole-v1", 3, seed=1)
    buffer = VectorReplayBuffer(3000, 3)
    collector = Collector[CollectStats](policy_of(env), env, buffer)
    stats = collector.collect(n_episode=7, random=True, reset_before_collect=True)
    assert stats.n_collected_episodes == 7
    assert len(buffer) == stats.n_collected_steps == stats.lens.sum()
    done = buffer.sample_indices(0)
    rows = buffer[done]
    goes_on = ~(rows.terminated | rows.truncated)
    # Consecutive rows of an episode meet; what follows an end is a beginning.
    for start, stop in ((0, 1000), (1000, 2000), (2000, 3000)):
        own = np.flatnonzero((done >= start) & (done < stop))
        meets = (rows.obs_next[own[:-1]] == rows.obs[own[1:]]).all(-1)
        assert np.array_equal(meets, goes_on[own[:-1]])
        assert (np.abs(rows.obs[own[1:]][~meets]) <= 0.05).all()
    moved = rows.obs[:, 0] + 0.02 * rows.obs[:, 1]
    np.testing.assert_allclose(rows.obs_next[:, 0], moved, atol=1e-6)
    assert np.array_equal(rows.info.env_id, done // 1000)


def test_dqn_of_the_library_on_our_environments_and_replay():
    env = make_vector_env("CartPole-v1", 4, seed=0)
    buffer = MetaRLPrioritizedVectorReplayBuffer(4000, 4, alpha=0.6, beta=0.4)
    policy = policy_of(env)
    algorithm = DQN(
        policy=policy,
        optim=AdamOptimizerFactory(lr=1e-3),
        gamma=0.99,
        n_step_return_horizon=3,
        target_update_freq=100,
    )
    before = torch.cat([p.detach().flatten() for p in policy.parameters()])
    collector = Collector[CollectStats](algorithm, env, buffer, exploration_noise=True)
    collector.reset()
    collector.collect(n_step=200, random=True)
    test_env = make_vector_env("CartPole-v1", 2, seed=9)
    result = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=collector,
            test_collector=Collector[CollectStats](algorithm, test_env),
            max_epochs=1,
            epoch_num_steps=400,
            collection_step_num_env_steps=20,
            test_step_num_episodes=2,
            update_step_num_gradient_steps_per_sample=0.5,
            batch_size=32,
            show_progress=False,
            verbose=False,
        )
    )
    assert (result.train_step, result.update_step) == (400, 20)
    assert len(buffer) >= 600
    assert np.ptp(buffer.weight[buffer.sample_indices(0)]) > 0.01
    assert not torch.equal(before, torch.cat([p.detach().flatten() for p in policy.parameters()]))


def test_the_librarys_wrapper_normalizes():
    env = VectorEnvNormObs(make_vector_env("CartPole-v1", 2, seed=0))
    env.reset()
    for _ in range(6):
        obs = env.step(np.array([0, 1]))[0]
    assert obs.shape == (2, 4)
    assert env.get_obs_rms().count > 10


class Goal(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict(
        {"image": gymnasium.spaces.Box(0, 255, (2, 2), np.uint8), "goal": gymnasium.spaces.Discrete(3)}
    )
    action_space = gymnasium.spaces.Discrete(2)

    def observe(self):
        return {"image": np.full((2, 2), self.steps, np.uint8), "goal": 1}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def step(self, action):
        self.steps += 1
        return self.observe(), float(action), self.steps == 2, False, {}


def test_environments_of_python_with_observations_of_several_parts():
    env = MetaRLVectorEnv(mc.make_vec([Goal] * 2, autoreset_mode="same_step", backend="serial"))
    obs, _ = env.reset()
    assert Batch(obs=obs).obs.image.shape == (2, 2, 2)
    env.step(np.array([1, 0]))
    obs, _, terminated, _, _ = env.step(np.array([1, 0]))
    assert terminated.all()
    assert Batch(obs=obs).obs.image[:, 0, 0].tolist() == [2, 2]
    begun, _ = env.reset([0, 1])
    assert Batch(obs=begun).obs.image[:, 0, 0].tolist() == [0, 0]
    with pytest.raises(TypeError, match="1 rows are not to be stepped, which native environments only can"):
        env.step(np.array([1]), [0])
    env.close()


def test_pictures():
    env = make_vector_env("CartPole-v1", 2, render_mode="rgb_array")
    env.reset()
    assert [picture.shape for picture in env.render()] == [(400, 600, 3)] * 2


def test_errors():
    env = make_vector_env("CartPole-v1", 3, seed=0)
    with pytest.raises(mc.ResetNeededError):
        env.step(np.zeros(3, int))
    env.reset()
    with pytest.raises(ValueError, match=r"action has length 2; must be 3"):
        env.step(np.zeros(2, int))
    with pytest.raises(ValueError, match="action is None"):
        env.step(None)
    with pytest.raises(IndexError, match="id 3 is out of range for 3 environments"):
        env.step(np.zeros(2, int), [0, 3])
    with pytest.raises(ValueError, match=r"id is \[1, 1\]; must be one row, or a list of different rows"):
        env.step(np.zeros(2, int), [1, 1])
    with pytest.raises(ValueError, match="seed has length 2; must be 3"):
        env.seed([1, 2])
    with pytest.raises(TypeError, match="unexpected keyword argument 'options'"):
        env.reset(options={})
    with pytest.raises(NotImplementedError, match="share one object"):
        env.set_env_attr("gravity", 3)
    ended = np.zeros(3, bool)
    while not ended.any():
        _, _, terminated, truncated, _ = env.step(np.zeros(3, int))
        ended = terminated | truncated
    with pytest.raises(mc.ResetNeededError, match="have ended, or not begun; reset them first"):
        env.step(np.zeros(3, int))


def test_what_is_refused():
    with pytest.raises(ValueError, match="autoreset_mode='next_step'; must be 'same_step'"):
        MetaRLVectorEnv(mc.make_vec("CartPole-v1", 2))
    with pytest.raises(TypeError, match="observations are tuples"):
        make_vector_env("Blackjack-v1", 2)
