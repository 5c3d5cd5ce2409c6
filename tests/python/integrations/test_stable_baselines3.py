"""Our replay and environments under the unchanged algorithms of stable-baselines3."""

import copy
import pickle
import warnings
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")

from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402
from torch.nn import functional  # noqa: E402

import metarl_core as mc  # noqa: E402
from metarl_core.integrations.stable_baselines3 import MetaRLReplayBuffer  # noqa: E402
from metarl_core.integrations.weighted_loss import Draw, WeightedRewards  # noqa: E402

BOX = gymnasium.spaces.Box(-9, 9, (3,), np.float32)
TWO = gymnasium.spaces.Discrete(2)


def steps(n_envs, count, seed=0, space=BOX):
    """What an algorithm hands to ``add``: streams of consecutive observations with ends and time limits."""
    rng = np.random.default_rng(seed)

    def observe():
        return np.stack([space.sample() for _ in range(n_envs)])

    space.seed(seed)
    obs = observe()
    for _ in range(count):
        last, done = observe(), rng.random(n_envs) < 0.2
        infos = [{"TimeLimit.truncated": bool(d and rng.random() < 0.5)} for d in done]
        yield (obs, last, rng.integers(2, size=n_envs), rng.normal(size=n_envs), done, infos)
        begun = observe()
        obs = np.where(done.reshape(-1, *[1] * (last.ndim - 1)), begun, last)


def filled(n_envs=2, count=20, space=BOX, size=1000, **options):
    buffer = MetaRLReplayBuffer(size, space, TWO, "cpu", n_envs, seed=1, **options)
    for row in steps(n_envs, count, space=space):
        buffer.add(*row)
    return buffer


def rows_of(samples):
    """A set of all distinct samples, to compare two buffers that draw differently."""
    parts = [samples.observations, samples.actions, samples.next_observations, samples.dones, samples.rewards]
    if samples.discounts is not None:
        parts.append(samples.discounts)
    table = torch.cat([torch.as_tensor(np.asarray(p)).double().reshape(len(p), -1) for p in parts], 1)
    return {tuple(row) for row in table.round(decimals=5).tolist()}


class LibrarysDraws(MetaRLReplayBuffer):
    """Ours, but which rows make a batch is drawn as the library does it."""

    columns = None

    def add(self, *row):
        super().add(*row)
        self.columns = None

    def sample(self, batch_size, env=None):
        rows = np.random.randint(0, self.size(), size=batch_size)  # noqa: NPY002
        np.random.randint(0, high=self.n_envs, size=batch_size)  # noqa: NPY002  # of which of one environment
        if self.columns is None:
            self.columns = self.core.state_dict()["columns"]
        core, self.core = self.core, SimpleNamespace(sample=lambda n: {k: v[rows] for k, v in self.columns.items()})
        try:
            return super().sample(batch_size, env)
        finally:
            self.core = core


def test_training_is_the_librarys_bit_for_bit_if_the_draws_are():
    """What is stored and handed over is no other, nor is any random number beside the draws."""

    def train(**options):
        algorithm = sb3.DQN("MlpPolicy", "CartPole-v1", seed=3, learning_starts=100, train_freq=8, **options)
        algorithm.learn(600)
        return algorithm.policy.state_dict()

    theirs = train()
    ours = train(replay_buffer_class=LibrarysDraws, replay_buffer_kwargs={"prioritized": False, "seed": 1})
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    own_draws = train(replay_buffer_class=MetaRLReplayBuffer, replay_buffer_kwargs={"prioritized": False, "seed": 1})
    assert not torch.equal(own_draws["q_net.q_net.0.weight"], theirs["q_net.q_net.0.weight"])


@pytest.mark.parametrize("timeouts", [True, False])
@pytest.mark.parametrize("options", [{}, {"optimize_memory_usage": True}, {"prioritized": False}])
def test_the_samples_are_the_librarys(options, timeouts):
    ours = filled(handle_timeout_termination=timeouts, **options)
    theirs = ReplayBuffer(1000, BOX, TWO, "cpu", 2, handle_timeout_termination=timeouts)
    for row in steps(2, 20):
        theirs.add(*row)
    a, b = ours.sample(2000), theirs.sample(4000)
    assert len(rows_of(a)) == 40
    assert rows_of(a) == rows_of(b)
    for name in ("observations", "actions", "next_observations", "dones", "rewards"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x.shape[1:], x.dtype) == (y.shape[1:], y.dtype), name
    assert ours.size() == theirs.size() == 20


def test_n_step_samples_are_the_librarys():
    ours = filled(n_steps=3, gamma=0.9)
    theirs = NStepReplayBuffer(1000, BOX, TWO, "cpu", 2, n_steps=3, gamma=0.9)
    for row in steps(2, 20):
        theirs.add(*row)

    # The library's discount after a termination is gamma^k, which (1 - done) makes 0; ours is 0 there.
    def known(samples):
        discounts = samples.discounts * (1 - samples.dones)
        return rows_of(samples._replace(discounts=discounts))

    a, b = known(ours.sample(4000)), known(theirs.sample(4000))
    assert a == b


def test_dict_observations():
    space = gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 255, (1, 4, 4), np.uint8), "goal": BOX})
    buffer = MetaRLReplayBuffer(10, space, TWO, "cpu", 2)
    obs = {"image": np.full((2, 1, 4, 4), 7, np.uint8), "goal": np.ones((2, 3), np.float32)}
    later = {"image": np.full((2, 1, 4, 4), 8, np.uint8), "goal": np.zeros((2, 3), np.float32)}
    buffer.add(obs, later, np.array([0, 1]), np.zeros(2), np.zeros(2, bool), [{}, {}])
    samples = buffer.sample(4)
    assert samples.observations["image"].shape == (4, 1, 4, 4)
    assert samples.observations["image"].unique().tolist() == [7]
    assert samples.next_observations["goal"].unique().tolist() == [0]


def test_discrete_and_binary_observations():
    for space, rows in (
        (gymnasium.spaces.Discrete(5), np.array([3, 4])),
        (gymnasium.spaces.MultiBinary(2), np.array([[0, 1], [1, 1]], np.int8)),
    ):
        buffer = MetaRLReplayBuffer(10, space, TWO, "cpu", 2)
        buffer.add(rows, rows, np.array([[0], [1]]), np.zeros(2), np.zeros(2, bool), [{}, {}])
        found = {tuple(row) for row in buffer.sample(50).observations.tolist()}
        assert found == {tuple(row) for row in rows.reshape(2, -1).tolist()}


def test_the_ring_overwrites_the_oldest():
    buffer = filled(size=10, count=20)
    assert buffer.size() == 5
    assert buffer.full
    newest = {round(float(r), 5) for row in list(steps(2, 20))[-5:] for r in row[3]}
    assert {round(r, 5) for r in buffer.sample(500).rewards.flatten().tolist()} == newest


@pytest.mark.parametrize(
    ("func", "kwargs"),
    [
        (functional.mse_loss, {}),
        (functional.mse_loss, {"reduction": "sum"}),
        (functional.mse_loss, {"reduction": "none"}),
        (functional.smooth_l1_loss, {"beta": 0.5}),
        (functional.huber_loss, {"delta": 0.7}),
        (functional.l1_loss, {}),
    ],
)
def test_weighted_losses_against_numpy(func, kwargs):
    rng = np.random.default_rng(0)
    rewards, values, q, w = rng.normal(size=(4, 8, 1))
    errors = []
    draw = Draw(torch.from_numpy(w[:, 0]), lambda e: errors.append(e.numpy()))
    carried = WeightedRewards.of(torch.from_numpy(rewards), draw)
    predicted = torch.from_numpy(q).requires_grad_()
    with torch.no_grad():
        target = (1 - torch.zeros(8, 1, dtype=torch.float64)) * 0.9 * torch.from_numpy(values) + carried
    loss = func(predicted, target=target, **kwargs)
    delta = q - (rewards + 0.9 * values)
    size = np.abs(delta)
    if func is functional.mse_loss:
        each, slope = delta**2, 2 * delta
    elif func is functional.l1_loss:
        each, slope = size, np.sign(delta)
    else:
        knee = kwargs.get("beta", kwargs.get("delta"))
        scale = 1 / knee if "beta" in kwargs else 1.0
        each = np.where(size < knee, 0.5 * delta**2, knee * (size - 0.5 * knee)) * scale
        slope = np.clip(delta, -knee, knee) * scale
    wanted = {"mean": (w * each).mean(), "sum": (w * each).sum(), "none": w * each}[kwargs.get("reduction", "mean")]
    assert type(loss) is torch.Tensor
    np.testing.assert_allclose(loss.detach().numpy(), wanted, rtol=1e-12)
    loss.sum().backward()
    share = 8 if kwargs.get("reduction", "mean") == "mean" else 1
    np.testing.assert_allclose(predicted.grad.numpy(), w * slope / share, rtol=1e-12)
    np.testing.assert_allclose(errors, [size[:, 0]], rtol=1e-12)


def test_a_loss_of_other_rows_is_refused():
    carried = WeightedRewards.of(torch.zeros(4, 1), Draw(torch.ones(4), lambda _: None))
    with pytest.raises(ValueError, match=r"input \(4, 1\) and target \(4,\) must have one shape"):
        functional.mse_loss(torch.zeros(4, 1), carried.flatten())
    with pytest.raises(ValueError, match="the 4 sampled transitions on its first axis"):
        functional.mse_loss(torch.zeros(2, 1), carried[:2])


ALGORITHMS = {
    "DQN": ("CartPole-v1", {"target_update_interval": 50, "train_freq": 1}),
    "TD3": ("Pendulum-v1", {}),
    "DDPG": ("Pendulum-v1", {}),
    "SAC": ("Pendulum-v1", {}),
}


def model_of(name, total=120, **options):
    env, more = ALGORITHMS[name]
    settings = {
        "learning_starts": 50,
        "batch_size": 16,
        "seed": 3,
        "policy_kwargs": {"net_arch": [16]},
        "buffer_size": 500,
    }
    model = getattr(sb3, name)("MlpPolicy", env, device="cpu", **settings | more | options)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.learn(total)
    return model


class Recording:
    """A buffer of the core that samples with this beta, and keeps its batches."""

    def __init__(self, core, beta):
        self.core, self.beta, self.batches = core, beta, []
        self.update_priorities = core.update_priorities

    def sample(self, batch_size):
        self.batches.append(self.core.sample(batch_size, beta=self.beta))
        return self.batches[-1]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_weights_are_really_used(name, tmp_path):
    """One update from the same state with beta 0 and with beta 1 gives different parameters, and new priorities."""
    model = model_of(name, replay_buffer_class=MetaRLReplayBuffer)
    model.save(tmp_path / "model")
    saved = pickle.dumps(model.replay_buffer)
    ends, drawn = [], []
    for beta in (0.0, 1.0, 1.0):
        model = getattr(sb3, name).load(tmp_path / "model", device="cpu")
        model.set_logger(sb3.common.logger.Logger(None, []))
        model.replay_buffer = pickle.loads(saved)
        core = model.replay_buffer.core
        model.replay_buffer.core = recording = Recording(core, beta)
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 - the library's generator
        model.train(gradient_steps=1, batch_size=16)
        ends.append(torch.cat([p.detach().flatten() for p in model.policy.parameters()]))
        (batch,) = recording.batches
        drawn.append(batch)
        before = pickle.loads(saved).core.priorities(batch.indices)
        assert np.abs(core.priorities(batch.indices) - before).max() > 1e-4
    assert np.array_equal(drawn[0].indices, drawn[1].indices)
    assert drawn[0].weights.min() == 1 > drawn[1].weights.min()
    assert torch.equal(ends[1], ends[2])
    assert not torch.equal(ends[0], ends[1])


def test_an_update_of_dqn_is_the_weighted_one_by_hand():
    """The algorithm's own step against the formula with float64 weights and Q-values."""
    model = model_of("DQN", replay_buffer_class=MetaRLReplayBuffer, replay_buffer_kwargs={"beta": 1.0})
    saved = pickle.dumps(model.replay_buffer)
    twin = pickle.loads(saved)
    batch = twin.core.sample(16)
    net = copy.deepcopy(model.q_net)
    with torch.no_grad():
        values = model.q_net_target(torch.from_numpy(batch["next_obs"])).max(1).values.numpy()
    target = batch["reward"] + 0.99 * (1 - batch["terminated"].astype(float)) * values
    q = net(torch.from_numpy(batch["obs"]))[torch.arange(16), torch.from_numpy(batch["action"][:, 0])]
    delta = q - torch.from_numpy(target.astype(np.float32))
    huber = torch.where(delta.abs() < 1, 0.5 * delta**2, delta.abs() - 0.5)
    loss = (torch.from_numpy(batch.weights) * huber).mean()
    loss.backward()
    model.max_grad_norm = 1e9
    model.train(gradient_steps=1, batch_size=16)
    for mine, theirs in zip(net.parameters(), model.q_net.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    wanted = np.maximum(np.abs(delta.detach().numpy()), 1e-6)
    distinct = [np.flatnonzero(batch.indices == i)[-1] for i in batch.indices]  # of equal indices the last wins
    found = model.replay_buffer.core.priorities(batch.indices)
    np.testing.assert_allclose(found, wanted[distinct], rtol=1e-4)


def test_without_weights_an_update_is_the_librarys():
    """prioritized=False: the samples are plain tensors, and nothing is weighted."""
    samples = filled(prioritized=False).sample(8)
    assert type(samples.rewards) is torch.Tensor


def test_batches_that_never_come_back_are_told_once():
    buffer = filled()
    buffer.sample(4)
    with pytest.warns(UserWarning, match="reached none of mse_loss"):
        buffer.sample(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        buffer.sample(4)


def test_normalized_samples():
    envs = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))
    envs.obs_rms.mean[:], envs.obs_rms.var[:], envs.ret_rms.var = 1.0, 4.0, 25.0
    space = envs.observation_space
    buffer = MetaRLReplayBuffer(10, space, TWO, "cpu", 1)
    obs = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    buffer.add(obs, obs, np.array([0]), np.array([10.0]), np.array([False]), [{}])
    samples = buffer.sample(1, envs)
    np.testing.assert_allclose(samples.observations.numpy(), (obs - 1) / 2, rtol=1e-5)
    assert samples.rewards.item() == pytest.approx(2.0, rel=1e-5)


def test_normalized_n_step_returns():
    """As the library's where it clips no reward; the most that it could give where it clips all."""
    envs = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]), clip_reward=1.0)
    envs.ret_rms.var = 4.0
    obs = np.zeros((1, 4), np.float32)

    def both(reward):
        options = {"n_steps": 3, "gamma": 0.9}
        found = []
        for made in (MetaRLReplayBuffer, NStepReplayBuffer):
            buffer = made(10, envs.observation_space, TWO, "cpu", 1, **options)
            for _ in range(4):
                buffer.add(obs, obs, np.array([0]), np.array([reward]), np.array([False]), [{}])
            found.append(buffer.sample(40, envs).rewards.max().item())
        return found

    for reward, expected in ((1.5, 0.75 * 2.71), (-0.5, None), (50.0, 2.71)):
        ours, theirs = both(reward)
        assert ours == pytest.approx(theirs, rel=1e-5)
        assert expected is None or ours == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_errors_of_half_precision_become_priorities(dtype):
    buffer = filled(alpha=1.0, eps=0.0)
    rewards = buffer.sample(8).rewards
    torch.nn.functional.mse_loss(torch.full((8, 1), 3.0, dtype=dtype), rewards.to(dtype), reduction="mean")
    assert len(np.unique(buffer.core.priorities(np.arange(len(buffer.core))))) > 1


def test_a_model_and_its_buffer_are_saved_and_go_on(tmp_path):
    model = model_of("DQN", replay_buffer_class=MetaRLReplayBuffer, replay_buffer_kwargs={"n_steps": 3})
    model.save(tmp_path / "model")
    model.save_replay_buffer(tmp_path / "replay")
    other = sb3.DQN.load(tmp_path / "model", env=gymnasium.make("CartPole-v1"), device="cpu")
    other.load_replay_buffer(tmp_path / "replay")
    assert other.replay_buffer.core.to_bytes() == model.replay_buffer.core.to_bytes()
    assert other.replay_buffer.size() == model.replay_buffer.size() > 100
    other.learn(60, reset_num_timesteps=False)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_a_second_learn_ends_the_last_episode(n_steps):
    """With observations stored once: DQN resets the environment in the middle of an episode."""
    env = gymnasium.make("CartPole-v1")
    model = sb3.DQN(
        "MlpPolicy",
        env,
        buffer_size=500,
        learning_starts=20,
        train_freq=1,
        seed=3,
        optimize_memory_usage=True,
        replay_buffer_class=MetaRLReplayBuffer,
        replay_buffer_kwargs={"n_steps": n_steps},
        device="cpu",
    )
    added, buffer = [], model.replay_buffer
    keep = buffer.add
    buffer.add = lambda *row: (added.append(copy.deepcopy(row[:5])), keep(*row))
    model.learn(60)
    in_the_middle = not added[-1][4][0]
    with pytest.warns(UserWarning, match="last trajectory in the replay buffer will be truncated"):
        model.learn(60)
    assert in_the_middle, "the first call must stop within an episode, or nothing is tested"
    assert len(added) == 120
    assert buffer.size() == 120
    # Row i goes on to the last row of its return: n steps later, at an end, or where the first call stopped.
    stops = [i for i, row in enumerate(added) if row[4][0]] + [59, 119]
    later = {added[i][0].tobytes(): min(i + n_steps - 1, *(s for s in stops if s >= i), 119) for i in range(120)}
    batch = buffer.sample(2000)
    seen = set()
    for obs, next_obs, done in zip(batch.observations, batch.next_observations, batch.dones, strict=True):
        last = later[obs.numpy().tobytes()]
        seen.add(obs.numpy().tobytes())
        assert np.array_equal(next_obs.numpy(), added[last][1][0])
        assert done.item() == added[last][4][0]
    assert added[59][0].tobytes() in seen


def test_arrays_that_are_not_there():
    buffer = filled()
    with pytest.raises(AttributeError, match=r"no array 'rewards'; buffer.core.state_dict\(\)\['columns'\]"):
        buffer.rewards  # noqa: B018
    with pytest.raises(TypeError, match="no array 'dones'"):
        buffer.dones[0]
    assert not hasattr(buffer, "anything")
    assert len(pickle.loads(pickle.dumps(buffer)).core) == len(copy.deepcopy(buffer).core) == len(buffer.core)


def test_mapped_files_are_there_again_for_a_model_without_a_seed(tmp_path):
    options = {"storage": f"mmap:{tmp_path}/columns"}
    env = gymnasium.make("CartPole-v1")
    model = sb3.DQN(
        "MlpPolicy",
        env,
        buffer_size=500,
        learning_starts=50,
        replay_buffer_class=MetaRLReplayBuffer,
        replay_buffer_kwargs=options,
        device="cpu",
    )
    model.learn(120)
    model.save(tmp_path / "model")
    stored = model.replay_buffer.core.to_bytes()
    model.replay_buffer.core.close()
    other = sb3.DQN.load(tmp_path / "model", env=env, device="cpu")
    assert other.replay_buffer.core.to_bytes() == stored
    assert other.replay_buffer.size() == 120
    other.learn(60, reset_num_timesteps=False)
    assert other.replay_buffer.size() == 180


def test_the_seed_of_the_model_seeds_the_draws():
    first, second = (model_of("DQN", replay_buffer_class=MetaRLReplayBuffer) for _ in range(2))
    for a, b in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    assert first.replay_buffer.core.to_bytes() == second.replay_buffer.core.to_bytes()


def test_reset_forgets():
    buffer = filled()
    buffer.reset()
    assert (buffer.size(), buffer.pos, buffer.full) == (0, 0, False)
    with pytest.raises(mc.BufferEmptyError):
        buffer.sample(4)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"alpha": -1}, "alpha"), ({"n_steps": 0}, "n_step"), ({"gamma": 2.0}, "gamma"), ({"storage": "tape"}, "storage")],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        MetaRLReplayBuffer(100, BOX, TWO, "cpu", 1, **options)
