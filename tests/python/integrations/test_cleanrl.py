"""The buffers and environments for CleanRL's scripts; the scripts themselves are in test_integration_cleanrl.py."""

import pickle
import warnings

import gymnasium
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

import metarl_core as mc  # noqa: E402
from metarl_core.integrations.cleanrl import PrioritizedReplayBuffer, ReplayBuffer, make_envs  # noqa: E402

BOX = gymnasium.spaces.Box(-9, 9, (3,), np.float32)
TWO = gymnasium.spaces.Discrete(2)


def steps(n_envs=1, count=30, seed=0):
    """Rows as the scripts give them: after a termination next_obs is the next episode's first observation."""
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(n_envs, 3)).astype(np.float32)
    for _ in range(count):
        later, done = rng.normal(size=(n_envs, 3)).astype(np.float32), rng.random(n_envs) < 0.2
        yield obs, later, rng.integers(2, size=n_envs), rng.normal(size=n_envs), done
        obs = later


def filled(n_envs=1, **options):
    buffer = ReplayBuffer(200, BOX, TWO, "cpu", n_envs, handle_timeout_termination=False, seed=1, **options)
    for row in steps(n_envs):
        buffer.add(*row, {})
    return buffer


@pytest.mark.parametrize("options", [{}, {"prioritized": False}, {"optimize_memory_usage": True}])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_samples_are_what_was_stored(n_envs, options):
    rows = {}
    for obs, later, action, reward, done in steps(n_envs):
        for env in range(n_envs):
            rows[tuple(obs[env])] = later[env], action[env], np.float32(reward[env]), done[env]
    buffer = filled(n_envs, **options)
    data = buffer.sample(1000)
    assert {tuple(o) for o in data.observations.numpy()} == set(rows)
    assert buffer.size() == 30
    for i in range(1000):
        later, action, reward, done = rows[tuple(data.observations[i].numpy())]
        assert (data.actions[i].item(), data.rewards[i].item(), data.dones[i].item()) == (action, reward, done)
        assert np.array_equal(data.next_observations[i].numpy(), later)
        assert data.discounts[i].item() == np.float32(0.99) * (1 - done)
    shapes = [data.actions, data.rewards, data.dones, data.discounts, data.weights]
    assert [tuple(part.shape) for part in shapes] == [(1000, 1)] * 5
    assert data.actions.dtype == torch.int64
    assert {part.dtype for part in shapes[1:]} == {torch.float32}


def test_samples_are_those_of_the_buffer_that_the_released_scripts_import():
    buffers = pytest.importorskip("stable_baselines3.common.buffers")
    theirs = buffers.ReplayBuffer(100, BOX, TWO, "cpu", 1, handle_timeout_termination=False)
    for row in steps():
        theirs.add(*row, [{}])
    a, b = filled().sample(300), theirs.sample(3000)
    for name in ("observations", "actions", "next_observations", "dones", "rewards"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x.shape[1:], x.dtype) == (y.shape[1:], y.dtype), name
        assert {tuple(row) for row in np.asarray(x).tolist()} == {tuple(row) for row in np.asarray(y).tolist()}


def test_time_limits_of_the_old_infos():
    buffer = ReplayBuffer(10, BOX, TWO, "cpu", 2)
    obs = np.arange(6, dtype=np.float32).reshape(2, 3)
    infos = [{"TimeLimit.truncated": True}, {}]
    buffer.add(obs, obs, np.array([0, 1]), np.zeros(2), np.array([True, True]), infos)
    data = buffer.sample(20)
    assert all((d == 1) == (o[0] == 3) for o, d in zip(data.observations, data.dones[:, 0], strict=True))
    with pytest.raises(TypeError, match="infos is one dict"):
        buffer.add(obs, obs, np.array([0, 1]), np.zeros(2), np.array([True, True]), {})


def test_n_step_returns_and_their_discounts():
    buffer = ReplayBuffer(100, BOX, TWO, "cpu", handle_timeout_termination=False, n_steps=3, gamma=0.5, seed=0)
    for t in range(6):
        obs = np.full((1, 3), t, np.float32)
        buffer.add(obs, obs + 1, np.array([0]), np.array([1.0]), np.array([t == 5]), {})
    data = buffer.sample(500)
    for o, r, g, n, d in zip(
        data.observations[:, 0], data.rewards, data.discounts, data.next_observations, data.dones, strict=True
    ):
        t = int(o)
        assert r.item() == {4: 1.5, 5: 1.0}.get(t, 1.75)
        assert (n[0].item(), d.item()) == (min(t + 3, 6), float(t >= 3))
        assert g.item() == (0.125 if t < 3 else 0.0)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_loss_and_gradient_of_dqn_are_the_weighted_ones(beta):
    """The lines of dqn.py, flat targets and all, against NumPy; then the errors are the priorities."""
    buffer = filled(beta=beta, alpha=0.7)
    buffer.core.update_priorities(np.arange(30), np.random.default_rng(3).uniform(0.1, 4, 30))
    masses = buffer.core.priorities().astype(float) ** 0.7
    p = masses / masses.sum()
    data = buffer.sample(16)
    w = (30 * p[data.indices]) ** -beta / (30 * p.min()) ** -beta
    np.testing.assert_allclose(data.weights[:, 0].numpy(), w, rtol=1e-5)
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 2)
    with torch.no_grad():
        target_max, _ = net(data.next_observations).max(dim=1)
        td_target = data.rewards.flatten() + 0.9 * target_max * (1 - data.dones.flatten())
    old_val = net(data.observations).gather(1, data.actions).squeeze()
    loss = functional.mse_loss(td_target, old_val)
    assert type(loss) is torch.Tensor
    loss.backward()
    matrix, bias = net.weight.detach().numpy().astype(float), net.bias.detach().numpy().astype(float)
    obs, later = data.observations.numpy().astype(float), data.next_observations.numpy().astype(float)
    actions, rewards = data.actions[:, 0].numpy(), np.asarray(data.rewards)[:, 0].astype(float)
    q = (obs @ matrix.T + bias)[np.arange(16), actions]
    target = rewards + 0.9 * (later @ matrix.T + bias).max(1) * (1 - data.dones[:, 0].numpy())
    delta = q - target
    np.testing.assert_allclose(loss.item(), (w * delta**2).mean(), rtol=1e-5)
    wanted = np.stack([(w * 2 * delta * (actions == a)) @ obs / 16 for a in range(2)])
    np.testing.assert_allclose(net.weight.grad.numpy(), wanted, rtol=1e-4, atol=1e-6)
    last = [np.flatnonzero(data.indices == i)[-1] for i in data.indices]
    np.testing.assert_allclose(buffer.core.priorities(data.indices), np.abs(delta)[last], rtol=1e-4)


def test_losses_computed_by_hand_are_weighted_and_become_priorities():
    buffer = filled(beta=1.0)
    buffer.core.update_priorities(np.arange(30), np.random.default_rng(3).uniform(0.1, 4, 30))
    data = buffer.sample(8)
    losses = torch.linspace(0.5, 4, 8, requires_grad=True)
    loss = data.weighted_mean(losses)
    weights = data.weights[:, 0].numpy().astype(float)
    assert loss.item() == pytest.approx((weights * np.linspace(0.5, 4, 8)).mean(), rel=1e-6)
    loss.backward()
    np.testing.assert_allclose(losses.grad.numpy(), weights / 8, rtol=1e-6)
    last = [np.flatnonzero(data.indices == i)[-1] for i in data.indices]
    np.testing.assert_allclose(buffer.core.priorities(data.indices), np.linspace(0.5, 4, 8)[last], rtol=1e-6)
    with pytest.raises(ValueError, match=r"losses has shape \(8, 1\); must be \(8,\)"):
        data.weighted_mean(losses[:, None])
    plain = filled(prioritized=False).sample(8)
    assert plain.weighted_mean(losses).item() == pytest.approx(2.25)
    assert type(plain.rewards) is torch.Tensor


def test_batches_that_never_come_back_are_told_once():
    buffer = filled()
    buffer.sample(4)
    with pytest.warns(UserWarning, match=r"^ReplayBuffer: a batch was sampled.*data\.weighted_mean") as told:
        buffer.sample(4)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        buffer.sample(4)


def test_numpys_seed_seeds_the_draws_and_a_pickle_goes_on():
    drawn = []
    for _ in range(2):
        np.random.seed(4)  # noqa: NPY002 - the generator that the scripts seed
        buffer = ReplayBuffer(100, BOX, TWO, "cpu", handle_timeout_termination=False)
        for row in steps():
            buffer.add(*row, {})
        data = buffer.sample(20)
        data.weighted_mean(torch.arange(1.0, 21))
        drawn.append(data.indices)
    assert np.array_equal(*drawn)
    again = pickle.loads(pickle.dumps(buffer))
    assert np.array_equal(again.sample(20).indices, buffer.sample(20).indices)


def of_script(**options):
    return ReplayBuffer(100, BOX, TWO, "cpu", handle_timeout_termination=False, **options)


def of_rainbow(**options):
    return PrioritizedReplayBuffer(100, (3,), "cpu", 3, 0.99, obs_dtype=np.float32, **options)


@pytest.mark.parametrize("make", [of_script, of_rainbow])
def test_without_a_seed_files_are_there_again_in_the_next_run(make, tmp_path):
    buffer = make(storage=f"mmap:{tmp_path}/columns")
    for obs, next_obs, action, reward, done in steps():
        if make is of_script:
            buffer.add(obs, next_obs, action, reward, done, {})
        else:
            buffer.add(obs, action, reward, next_obs, done)
    buffer.sample(20)
    buffer.core.save(tmp_path / "checkpoint")
    buffer.core.close()
    again, restored = make(storage=f"mmap:{tmp_path}/columns"), make()
    restored.core.restore(tmp_path / "checkpoint")
    assert again.core.to_bytes() == restored.core.to_bytes()
    assert len(again.core) > 20
    assert torch.equal(again.sample(20).observations, restored.sample(20).observations)


def test_the_ring_and_reset():
    buffer = ReplayBuffer(10, BOX, TWO, "cpu", 2, handle_timeout_termination=False)
    rows = list(steps(2))
    for row in rows:
        buffer.add(*row, {})
    assert buffer.size() == 5
    newest = {tuple(o) for row in rows[-5:] for o in row[0]}
    assert {tuple(o) for o in buffer.sample(200).observations.numpy()} == newest
    buffer.reset()
    assert buffer.size() == 0
    with pytest.raises(mc.BufferEmptyError):
        buffer.sample(4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_envs": 0}, ValueError, "n_envs is 0"),
        ({"alpha": -1}, ValueError, "alpha"),
        ({"n_steps": 0}, ValueError, "n_step"),
        ({"buffer_size": 0}, ValueError, "buffer_size is 0"),
        ({"observation_space": gymnasium.spaces.Dict({"x": BOX})}, TypeError, "observation_space is Dict"),
        ({"action_space": gymnasium.spaces.Text(3)}, TypeError, "action_space is Text"),
    ],
)
def test_bad_options(options, error, message):
    arguments = {"buffer_size": 10, "observation_space": BOX, "action_space": TWO, "device": "cpu"} | options
    with pytest.raises(error, match=message):
        ReplayBuffer(**arguments)


def stacks(count=40, ends=(9, 24), seed=0):
    """Stacked frames as rainbow_atari.py hands them over, next_obs of a termination being the next episode's first."""
    rng = np.random.default_rng(seed)

    def frame():
        return rng.integers(1, 255, (1, 1, 2, 2), np.uint8)

    obs = np.repeat(frame(), 4, axis=1)
    for t in range(count):
        done = t in ends
        later = np.repeat(frame(), 4, axis=1) if done else np.concatenate([obs[:, 1:], frame()], axis=1)
        yield obs, np.array([t % 3]), np.array([float(rng.normal())]), later, np.array([done])
        obs = later


@pytest.mark.parametrize("frame_stack", [None, 4])
def test_rainbows_buffer_against_numpy(frame_stack):
    buffer = PrioritizedReplayBuffer(
        200, (4, 2, 2), "cpu", 3, 0.9, alpha=0.5, beta=0.4, eps=0.01, frame_stack=frame_stack, seed=2
    )
    rows = list(stacks())
    for row in rows:
        buffer.add(*row)
    assert buffer.size == 40
    by_obs = {row[0].tobytes(): t for t, row in enumerate(rows)}
    data = buffer.sample(64)
    times = np.array([by_obs[o.numpy().tobytes()] for o in data.observations])
    errors = np.random.default_rng(1).normal(size=64)
    buffer.update_priorities(data.indices, errors)
    raised = dict(zip(times, np.abs(errors) + 0.01, strict=True))  # of equal slots the last wins
    priorities = np.array([raised.get(t, 1.0) for t in range(40)])
    p = priorities**0.5 / (priorities**0.5).sum()
    buffer.beta = 0.8
    assert buffer.beta == 0.8
    data = buffer.sample(2000)
    for i in range(2000):
        t = by_obs[data.observations[i].numpy().tobytes()]
        end = min((e for e in (9, 24) if e >= t), default=99)
        last = min(t + 2, end, 39)
        assert data.rewards[i].item() == pytest.approx(
            sum(0.9**k * rows[t + k][2][0] for k in range(last - t + 1)), rel=1e-5
        )
        assert data.dones[i].item() == (last == end)
        assert data.discounts[i].item() == pytest.approx(0 if last == end else 0.9 ** (last - t + 1))
        assert data.actions[i].item() == t % 3
        if last != end:
            assert np.array_equal(data.next_observations[i].numpy(), rows[last][3][0])
    times = np.array([by_obs[o.numpy().tobytes()] for o in data.observations])
    np.testing.assert_allclose(np.bincount(times, minlength=40) / 2000, p, atol=2 / 2000)
    w = (40 * p[times]) ** -0.8
    np.testing.assert_allclose(data.weights[:, 0].numpy(), w / w.max(), rtol=1e-5)


def test_rainbows_returns_stop_at_a_time_limit():
    """The script tells of terminations only: where an observation does not follow, the chain ends."""
    buffer = PrioritizedReplayBuffer(50, (1,), "cpu", 3, 0.5, obs_dtype=np.float32, seed=0)
    for t in (0, 1, 2, 10, 11, 12):
        buffer.add(np.float32([[t]]), np.array([0]), np.array([1.0]), np.float32([[t + 1]]), np.array([False]))
    data = buffer.sample(300)
    steps_of = {0: 3, 1: 2, 2: 1, 10: 3, 11: 2, 12: 1}
    for o, n, g in zip(data.observations[:, 0], data.next_observations[:, 0], data.discounts[:, 0], strict=True):
        assert n - o == steps_of[int(o)]
        assert g == 0.5 ** steps_of[int(o)]


def test_the_environments_have_the_infos_of_gymnasium_0_29():
    envs, plain = make_envs("CartPole-v1", 3, seed=5), mc.make_vec("CartPole-v1", 3, autoreset_mode="same_step")
    assert isinstance(envs.single_action_space, gymnasium.spaces.Discrete)
    assert isinstance(envs.single_observation_space, gymnasium.spaces.Box)
    obs, _ = envs.reset(seed=5)
    assert np.array_equal(obs, plain.reset(seed=5)[0])
    rng, returns, ends = np.random.default_rng(0), np.zeros(3), 0
    for _ in range(200):
        actions = rng.integers(2, size=3)
        a, b = envs.step(actions), plain.step(actions)
        for mine, theirs in zip(a[:4], b[:4], strict=True):
            assert np.array_equal(mine, theirs)
        returns += a[1]
        ended, infos = a[2] | a[3], a[4]
        assert ("final_info" in infos) == ended.any()
        for env in np.flatnonzero(ended):
            ends += 1
            assert np.array_equal(infos["final_observation"][env], b[4]["final_obs"][env])
            episode = infos["final_info"][env]["episode"]
            assert (episode["r"][0], episode["l"][0]) == (returns[env], returns[env])
            returns[env] = 0
        if ended.any():
            assert [info is None for info in infos["final_info"]] == list(~ended)
            assert [o is None for o in infos["final_observation"]] == list(~ended)
    assert ends > 10
    envs.close()
    with pytest.raises(ValueError, match="CartPol"):
        make_envs("CartPol-v1")
    with pytest.raises(TypeError, match="mass_of_pole"):
        make_envs("CartPole-v1", mass_of_pole=1.0)


def test_the_seed_of_the_environments_seeds_the_sampled_actions():
    spaces = [make_envs("CartPole-v1", seed=s).single_action_space for s in (1, 1, 2)]
    a, b, c = ([space.sample() for _ in range(40)] for space in spaces)
    assert a == b != c
