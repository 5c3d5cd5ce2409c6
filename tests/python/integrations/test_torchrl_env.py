"""Our vector environments as TorchRL's, step by step against our own."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchrl")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensordict import TensorDict
    from torchrl.collectors import Collector
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
    from torchrl.envs import Compose, RewardSum, StepCounter, TransformedEnv
    from torchrl.envs.utils import check_env_specs

import gymnasium  # noqa: E402

import metarl_core as mc  # noqa: E402
from metarl_core.integrations.torchrl import MetaRLEnv, MetaRLPrioritizedSampler, make_env  # noqa: E402

IDS = [
    "CartPole-v1",
    "Pendulum-v1",
    "MountainCarContinuous-v0",
    "FrozenLake-v1",
    "Taxi-v4",
    "Blackjack-v1",
    "DeepSea-v0",
    "MinAtar/Breakout-v1",
    "PointRobot-v0",
]


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("env_id", IDS)
def test_the_librarys_check_of_specs(env_id, one_hot):
    env = make_env(env_id, 3, seed=1, one_hot_actions=one_hot)
    check_env_specs(env)
    env.close()


class Switches(gymnasium.Env):
    """Actions that have a length and are no numbers."""

    observation_space = gymnasium.spaces.Box(0, 1, (3,), np.float32)
    action_space = gymnasium.spaces.MultiBinary(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        return np.asarray(action, np.float32), float(action.sum()), False, False, {}


def test_one_hot_is_of_discrete_actions_alone():
    env = MetaRLEnv(mc.make_vec(Switches, 2, backend="serial", autoreset_mode="disabled"), one_hot_actions=True)
    played = env.rollout(5)
    assert torch.equal(played["next", "observation"], played["action"].float())
    env.close()


def columns(obs):
    """Observations as a list of arrays."""
    if isinstance(obs, TensorDict):
        return [obs[name].numpy() for name in sorted(obs.keys())]
    if isinstance(obs, tuple):
        return list(obs)
    return [obs.numpy() if isinstance(obs, torch.Tensor) else obs]


@pytest.mark.parametrize("env_id", IDS)
def test_steps_and_resets_are_those_of_our_own(env_id):
    steps, rows = 250, 3
    env = make_env(env_id, rows, seed=5, max_episode_steps=60)
    torch.manual_seed(0)
    played = env.rollout(steps, break_when_any_done=False, policy=None)
    ours = mc.make_vec(env_id, rows, autoreset_mode="same_step", dense_final_obs=True, max_episode_steps=60)
    obs, _ = ours.reset(seed=5)
    ends = 0
    for t in range(steps):
        row = played[:, t]
        for a, b in zip(columns(row["observation"]), columns(obs), strict=True):
            assert np.array_equal(a, b)
            assert a.dtype == b.dtype
        obs, reward, terminated, truncated, info = ours.step(row["action"].numpy())
        ended = terminated | truncated
        ends += ended.sum()
        following = row["next"]
        for name, values in (("reward", reward), ("terminated", terminated), ("truncated", truncated), ("done", ended)):
            assert following[name].shape == (rows, 1)
            assert np.array_equal(
                following[name][:, 0].numpy(), values.astype(np.float32 if name == "reward" else bool)
            )
        last = info["final_obs"] if ended.any() else None
        for part, (a, b) in enumerate(zip(columns(following["observation"]), columns(obs), strict=True)):
            assert np.array_equal(a[~ended], b[~ended])
            if last is not None:
                assert np.array_equal(a[ended], columns(last)[part][ended])
    assert ends >= rows
    env.close()


def test_a_reset_of_some_rows_leaves_the_others():
    env = make_env("CartPole-v1", 4, seed=2)
    data = env.reset()
    for _ in range(5):
        data = env.rand_step(data)["next"].exclude("reward")
    before = data["observation"].clone()
    data["_reset"] = torch.tensor([[True], [False], [False], [True]])
    after = env.reset(data)["observation"]
    assert torch.equal(after[1:3], before[1:3])
    assert (after[[0, 3]] != before[[0, 3]]).all()
    assert (after[[0, 3]].abs() <= 0.05).all()


def test_seeds():
    first, second, other = (make_env("CartPole-v1", 3, seed=seed).reset()["observation"] for seed in (7, 7, 8))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    env = make_env("CartPole-v1", 3)
    env.set_seed(7)
    assert torch.equal(env.reset()["observation"], first)
    assert not torch.equal(env.reset()["observation"], first)  # the seed is that of one reset
    assert len(torch.unique(first[:, 0])) == 3


def test_parameters_and_tasks():
    env = make_env("Pendulum-v1", 2, g=9.81)
    assert env.envs.params["g"] == 9.81
    env.envs.set_tasks({"g": np.array([1.0, 20.0])})
    data = env.reset()
    data["action"] = torch.zeros(2, 1)
    assert env.step(data)["next", "observation"].shape == (2, 3)


def test_the_librarys_transforms():
    env = TransformedEnv(make_env("CartPole-v1", 2, seed=0), Compose(RewardSum(), StepCounter()))
    check_env_specs(env)
    played = env.rollout(60, break_when_any_done=False)
    begun = played["step_count"][:, :, 0] == 0
    assert begun.sum() == played["next", "done"][:, :-1].sum() + 2
    assert torch.equal(played["next", "episode_reward"][:, :, 0], played["next", "step_count"][:, :, 0].float())


def test_the_collector_into_our_sampler():
    env = make_env("CartPole-v1", 4, seed=0)
    collector = Collector(env, None, frames_per_batch=64, total_frames=320)
    buffer = TensorDictReplayBuffer(
        storage=LazyTensorStorage(1000), sampler=MetaRLPrioritizedSampler(1000, 0.6, 0.4), batch_size=32
    )
    ends = 0
    for data in collector:
        assert data.shape == (4, 16)
        ends += int(data["next", "done"].sum())
        buffer.extend(data.reshape(-1))
    collector.shutdown()
    assert len(buffer) == 320
    assert ends > 3
    sample = buffer.sample()
    # What was stored is a step of CartPole: positions move by the velocities.
    moved = sample["observation"][:, 0] + 0.02 * sample["observation"][:, 1]
    torch.testing.assert_close(sample["next", "observation"][:, 0], moved, rtol=0, atol=1e-6)


class Goal(gymnasium.Env):
    """An environment in Python with observations of several parts."""

    observation_space = gymnasium.spaces.Dict(
        {"image": gymnasium.spaces.Box(0, 255, (2, 2), np.uint8), "bits": gymnasium.spaces.MultiBinary(3)}
    )
    action_space = gymnasium.spaces.Discrete(2)

    def observe(self):
        return {"image": np.full((2, 2), self.steps, np.uint8), "bits": np.array([1, 0, 1], np.int8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.observe(), {}

    def step(self, action):
        self.steps += 1
        return self.observe(), float(action), self.steps == 3, False, {}


def test_environments_of_python_with_observations_of_several_parts():
    env = MetaRLEnv(mc.make_vec([Goal] * 2, autoreset_mode="disabled", backend="serial"))
    check_env_specs(env)
    played = env.rollout(7, break_when_any_done=False)
    assert played["observation", "image"].shape == (2, 7, 2, 2)
    assert played["next", "observation", "image"][0, :, 0, 0].tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert torch.equal(played["next", "reward"][..., 0], played["action"].float())
    env.close()


def test_another_autoreset_mode_is_refused():
    with pytest.raises(ValueError, match="autoreset_mode='next_step'; must be 'disabled'"):
        MetaRLEnv(mc.make_vec("CartPole-v1", 2))


def test_an_ended_row_is_not_stepped():
    env = make_env("CartPole-v1", 2, seed=0)
    data = env.rollout(500, break_when_any_done=True)[:, -1]["next"].exclude("reward")
    data["action"] = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(mc.ResetNeededError):
        env.step(data)


def test_spaces_without_a_spec():
    class Words(Goal):
        observation_space = gymnasium.spaces.Text(5)

        def observe(self):
            return "abc"

    envs = mc.make_vec([Words], autoreset_mode="disabled", backend="serial")
    with pytest.raises(TypeError, match=r"the space Text.* has no spec; known are Box"):
        MetaRLEnv(envs)
    envs.close()


def test_closed():
    env = make_env("CartPole-v1", 2)
    env.close()
    with pytest.raises(mc.ClosedError):
        env.envs.reset()
