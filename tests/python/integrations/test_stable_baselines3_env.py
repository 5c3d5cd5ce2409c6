"""Our environments as stable-baselines3's vector environments."""

import gymnasium
import numpy as np
import pytest

sb3 = pytest.importorskip("stable_baselines3")

from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402
from stable_baselines3.common.monitor import load_results  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402

import metarl_core as mc  # noqa: E402
from metarl_core.integrations.stable_baselines3 import MetaRLReplayBuffer, MetaRLVecEnv, make_vec_env  # noqa: E402


class Told(gymnasium.Env):
    """An environment of Python with infos: success where the last action was 1."""

    observation_space = gymnasium.spaces.Box(-9, 9, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length=3):
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {"seed": seed, "options": options}

    def step(self, action):
        self.steps += 1
        ended = self.steps == self.length
        info = {"steps": self.steps, "parts": {"words": f"step {self.steps}", "action": np.array([action])}}
        if ended:
            info["is_success"] = bool(action)
        return np.full(2, self.steps, np.float32), 1.0, False, ended, info


def plain(info):
    """For comparison: of arrays and NumPy's scalars what they hold."""
    if isinstance(info, dict):
        return {name: plain(value) for name, value in info.items()}
    return np.asarray(info).tolist()


class _Always:
    """A policy of one action."""

    def __init__(self, action):
        self.action = action

    def predict(self, obs, state=None, episode_start=None, deterministic=False):
        return np.full(len(obs), self.action), state


def test_our_environments_are_the_librarys():
    """Steps of CartPole against the library's own vector environment of Gymnasium's, which starts where ours does."""
    ours = make_vec_env("CartPole-v1", 3, seed=5)
    theirs = DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * 3)
    theirs.reset()

    def start(obs, where):
        for env in np.flatnonzero(where):
            theirs.envs[env].unwrapped.state = tuple(obs[env].astype(np.float64))

    start(ours.reset(), np.ones(3, bool))
    rng, ends = np.random.default_rng(0), 0
    for _ in range(200):
        actions = rng.integers(2, size=3)
        (a, ra, da, ia), (b, rb, db, ib) = ours.step(actions), theirs.step(actions)
        assert np.array_equal(ra, rb)
        assert np.array_equal(da, db)
        np.testing.assert_allclose(a[~da], b[~db], rtol=1e-3, atol=1e-4)
        for env in np.flatnonzero(da):
            ends += 1
            np.testing.assert_allclose(
                ia[env]["terminal_observation"], ib[env]["terminal_observation"], rtol=1e-3, atol=1e-4
            )
            assert ia[env]["TimeLimit.truncated"] == ib[env]["TimeLimit.truncated"]
            assert ia[env]["episode"]["l"] > 0
        start(a, da)
    assert ends > 10
    again = make_vec_env("CartPole-v1", 3, seed=5)
    assert np.array_equal(again.reset(), make_vec_env("CartPole-v1", 3, seed=5).reset())
    ours.close()


def test_time_limits_are_told():
    envs = make_vec_env("Pendulum-v1", 2)
    envs.reset()
    for _ in range(200):
        _, _, done, infos = envs.step(np.zeros((2, 1), np.float32))
    assert done.all()
    assert [info["TimeLimit.truncated"] for info in infos] == [True, True]
    assert infos[0]["terminal_observation"].shape == (3,)


@pytest.mark.parametrize("backend", ["serial", "process"])
def test_infos_are_the_librarys(backend):
    ours = make_vec_env(Told, 2, seed=5, backend=backend, env_kwargs={"length": 2})
    theirs = DummyVecEnv([lambda: Told(2)] * 2)
    theirs.seed(5)
    for envs in (ours, theirs):
        envs.set_options({"level": 3})
        envs.reset()
    assert ours.venv.reset_infos == theirs.reset_infos
    assert ours.venv.reset_infos[1] == {"seed": 6, "options": {"level": 3}}
    for actions in ([1, 0], [0, 1], [1, 1], [0, 0]):
        (_, _, done, mine), (_, _, _, others) = ours.step(np.array(actions)), theirs.step(np.array(actions))
        for info in mine:
            info.pop("episode", None)
        assert plain(mine[0]) == plain(others[0])
        assert plain(mine[1]) == plain(others[1])
    assert done.all()
    assert mine[0]["is_success"] == np.False_
    assert ours.venv.reset_infos == theirs.reset_infos == [{"seed": None, "options": None}] * 2
    ours.close()


def test_the_infos_of_native_environments():
    envs = make_vec_env("FrozenLake-v1", 2, seed=0, max_episode_steps=2)
    envs.reset()
    assert [info["prob"] for info in envs.venv.reset_infos] == [1.0, 1.0]
    _, _, _, infos = envs.step(np.array([0, 2]))
    assert infos[0].keys() == {"prob", "TimeLimit.truncated"}
    _, _, done, infos = envs.step(np.array([0, 2]))
    assert done.all()
    assert [round(info["prob"], 3) for info in infos] == [0.333, 0.333]  # of the last step, not of the reset
    assert [info["prob"] for info in envs.venv.reset_infos] == [1.0, 1.0]


def test_the_success_rate_reaches_the_evaluation(tmp_path):
    envs = make_vec_env(Told, 2, backend="serial", monitor_dir=tmp_path, monitor_kwargs={"info_keywords": ("steps",)})
    told = []
    evaluate_policy(
        _Always(1), envs, n_eval_episodes=4, callback=lambda have, _: told.append(have["info"].get("is_success"))
    )
    assert [bool(success) for success in told if success is not None] == [True] * 4
    envs.close()
    rows = load_results(tmp_path)
    assert rows["l"].tolist() == rows["steps"].tolist() == [3] * len(rows)
    assert len(rows) >= 4


def test_options_of_a_reset():
    envs = make_vec_env(Told, 2, backend="serial")
    envs.set_options([{"level": 1}, {"level": 1}])
    envs.reset()
    assert [info["options"] for info in envs.venv.reset_infos] == [{"level": 1}] * 2
    envs.reset()  # they are used once
    assert [info["options"] for info in envs.venv.reset_infos] == [None] * 2
    with pytest.raises(ValueError, match=r"options\[1\] is \{'level': 2\} and options\[0\]"):
        envs.set_options([{"level": 1}, {"level": 2}])
    with pytest.raises(ValueError, match="options has length 1; must be 2"):
        envs.set_options([{"level": 1}])
    native = make_vec_env("CartPole-v1", 2)
    native.set_options({"level": 1})
    with pytest.raises(ValueError, match="unknown key 'level'"):
        native.reset()


def test_the_arguments_of_the_librarys_make_vec_env():
    envs = make_vec_env("CartPole-v1", n_envs=2, seed=3, env_kwargs={"length": 0.7}, num_threads=1)
    again = make_vec_env("CartPole-v1", n_envs=2, seed=3, length=0.7)
    assert np.array_equal(envs.reset(), again.reset())
    assert np.array_equal(envs.step(np.array([0, 1]))[0], again.step(np.array([0, 1]))[0])
    other = make_vec_env("CartPole-v1", n_envs=2, seed=3)
    other.reset()
    assert not np.array_equal(envs.step(np.array([0, 1]))[0], other.step(np.array([0, 1]))[0])
    assert [envs.action_space.sample() for _ in range(20)] == [again.action_space.sample() for _ in range(20)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"wrapper_class": VecNormalize},
            "'wrapper_class', which stable-baselines3's own function has: .*VecEnvWrapper",
        ),
        ({"vec_env_cls": DummyVecEnv}, "'vec_env_cls', .*backend='process'"),
        ({"start_index": 2}, "'start_index', .*monitor files"),
        ({"monitor_kwargs": {"allow_early_resets": True}}, "monitor_kwargs has 'allow_early_resets'"),
        ({"env_kwargs": {"length": 1.0}, "length": 1.0}, "'length' is in env_kwargs and among the arguments"),
        ({"env_kwargs": {"size": 1.0}}, "size"),
    ],
)
def test_arguments_that_are_refused(options, message):
    with pytest.raises(TypeError, match=message):
        make_vec_env("CartPole-v1", 2, **options)


def test_another_autoreset_mode_is_refused():
    with pytest.raises(ValueError, match="autoreset_mode='next_step'; must be 'same_step'"):
        MetaRLVecEnv(mc.make_vec("CartPole-v1", 2))


def test_a_picture_of_every_environment():
    envs = make_vec_env("CartPole-v1", 2, render_mode="rgb_array")
    envs.reset()
    assert envs.render("rgb_array").ndim == 3
    assert [image.shape for image in envs.get_images()] == [(400, 600, 3)] * 2


def test_dqn_on_our_environments_with_our_replay():
    envs = make_vec_env("CartPole-v1", 4, seed=0)
    model = sb3.DQN(
        "MlpPolicy",
        envs,
        replay_buffer_class=MetaRLReplayBuffer,
        learning_starts=100,
        train_freq=1,
        buffer_size=1000,
        device="cpu",
    )
    model.learn(400)
    assert model.replay_buffer.size() == 100
    assert len(model.ep_info_buffer) > 5
    assert np.ptp(model.replay_buffer.core.priorities()) > 0.01
