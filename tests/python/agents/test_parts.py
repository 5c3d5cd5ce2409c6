"""N-step assembly, observation encoding, episode tracking, behaviour policies, schedules."""

import numpy as np
import pytest
import torch

gymnasium = pytest.importorskip("gymnasium")

from metarl_core.agents.cder.config import CderConfig  # noqa: E402
from metarl_core.agents.cder.policy import BehaviourPolicy, ucb_scores  # noqa: E402
from metarl_core.agents.common.nstep import NStepAssembler  # noqa: E402
from metarl_core.agents.common.observations import ObservationEncoder  # noqa: E402
from metarl_core.agents.common.options import ConfigError  # noqa: E402
from metarl_core.agents.common.schedules import linear  # noqa: E402
from metarl_core.agents.common.tracking import EpisodeTracker, VisitationCounter  # noqa: E402


def nstep_stream(num_envs, steps, seed):
    """Random steps whose observations are (episode, time), so that a transition tells where it came from."""
    rng = np.random.default_rng(seed)
    episode = np.arange(num_envs) * 1000
    time = np.zeros(num_envs, dtype=int)
    for _ in range(steps):
        obs = np.stack([episode, time], 1).astype(np.float32)
        following = np.stack([episode, time + 1], 1).astype(np.float32)
        kind = rng.choice(3, size=num_envs, p=[0.75, 0.15, 0.1])
        terminated, ended = kind == 1, kind > 0
        reward = rng.normal(size=num_envs).astype(np.float32)
        yield {"obs": obs, "next_obs": following, "reward": reward, "terminated": terminated}, ended
        time = np.where(ended, 0, time + 1)
        episode = np.where(ended, episode + 1, episode)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_n_step_returns_against_whole_episodes(n):
    gamma, num_envs = 0.9, 3
    assembler = NStepAssembler(n, gamma, num_envs)
    rewards: dict[int, list[float]] = {}
    endings: dict[int, tuple[bool, int]] = {}
    emitted = []
    for step, (columns, ended) in enumerate(nstep_stream(num_envs, 200, seed=n)):
        for env in range(num_envs):
            key = int(columns["obs"][env, 0])
            rewards.setdefault(key, []).append(float(columns["reward"][env]))
            if ended[env]:
                endings[key] = (bool(columns["terminated"][env]), len(rewards[key]))
        if step == 90:  # a checkpoint in the middle changes nothing
            state = assembler.state_dict()
            assembler = NStepAssembler(n, gamma, num_envs)
            assembler.load_state_dict(state)
        ready = assembler.push(columns, ended)
        if ready is not None:
            emitted += [{name: column[i] for name, column in ready.items()} for i in range(len(ready["obs"]))]
    seen = {(int(row["obs"][0]), int(row["obs"][1])) for row in emitted}
    assert len(seen) == len(emitted) > 400
    for row in emitted:
        key, t = int(row["obs"][0]), int(row["obs"][1])
        window = rewards[key][t : t + n]
        terminated, length = endings.get(key, (False, -1))
        at_end = length >= 0 and t + len(window) == length
        assert int(row["n_obs"][0]) == key  # never of another episode
        assert int(row["n_obs"][1]) == t + len(window)
        assert row["n_return"] == pytest.approx(sum(gamma**k * r for k, r in enumerate(window)), abs=1e-5)
        assert row["n_discount"] == pytest.approx(0 if at_end and terminated else gamma ** len(window), abs=1e-6)
        assert len(window) == n or at_end


def test_encoder_maps_bounded_boxes_and_leaves_the_rest():
    space = gymnasium.spaces.Box(
        np.array([-1.2, -0.07, -np.inf, 0], np.float32), np.array([0.6, 0.07, np.inf, 1], np.float32)
    )
    encoder = ObservationEncoder(space)
    low, high = np.array([[-1.2, -0.07, 5, 0]], np.float32), np.array([[0.6, 0.07, -5, 1]], np.float32)
    np.testing.assert_allclose(encoder(low), [[-1, -1, 5, 0]], atol=1e-6)
    np.testing.assert_allclose(encoder(high), [[1, 1, -5, 1]], atol=1e-6)
    np.testing.assert_array_equal(ObservationEncoder(space, normalize=False)(low), low)
    out = encoder(low)
    low[:] = 9
    assert out[0, 0] == pytest.approx(-1)


def test_encoder_gives_indices_of_one_hot_and_discrete_observations():
    box = gymnasium.spaces.Box(0, 1, (3, 4), np.float32)
    obs = np.zeros((3, 3, 4), np.float32)
    obs[0, 0, 0] = obs[1, 2, 3] = 1
    encoder = ObservationEncoder(box, one_hot=True)
    assert (encoder.size, encoder.shape) == (12, ())
    assert encoder(obs).tolist() == [0, 11, 12]
    obs[2, 1, 1] = 0.5
    with pytest.raises(ConfigError, match="one_hot_obs"):
        encoder(obs)
    obs[2, 1, 1], obs[2, 1, 2] = 1, 1
    with pytest.raises(ConfigError, match="one_hot_obs"):
        encoder(obs)
    discrete = ObservationEncoder(gymnasium.spaces.Discrete(5))
    assert discrete.one_hot
    assert discrete(np.array([4, 0])).tolist() == [4, 0]
    with pytest.raises(ConfigError, match="Box and Discrete"):
        ObservationEncoder(gymnasium.spaces.MultiBinary(3))


def test_solve_rule_counts_all_instances_in_finishing_order():
    tracker = EpisodeTracker(2, counts_bad=True)
    both, first = np.array([True, True]), np.array([True, False])
    for step in range(9):  # 18 bad episodes
        tracker.update(step, np.zeros(2), both, both)
    assert tracker.solved is False
    tracker.update(10, np.ones(2), both, first)  # 19 bad of 20 when the second one counts
    assert (tracker.episodes, tracker.bad_episodes) == (20, 19)
    rows = tracker.update(11, np.ones(2), both, np.array([False, False]))
    # 19/21 = 0.905, 19/22 = 0.864
    assert tracker.episodes_to_solve == 22
    assert [(row["episode"], row["env"], row["return"], row["length"]) for row in rows] == [
        (21, 0, 1, 1),
        (22, 1, 1, 1),
    ]
    tracker.update(12, np.zeros(2), both, both)
    assert tracker.solved is True
    assert tracker.episodes_to_solve == 22


def test_tracker_without_a_rule_and_with_a_return_rule():
    tracker = EpisodeTracker(1, counts_bad=False)
    assert tracker.solved is None
    assert tracker.final_return is None
    ruled = EpisodeTracker(1, counts_bad=False, solve_return=1.5)
    for i in range(150):
        ruled.update(i, np.array([1.0 if i < 20 else 2.0]), np.array([True]), None)
    # The mean of the last hundred reaches 1.5 at once when the window is full: 20 ones, 80 twos = 1.8.
    assert ruled.episodes_to_solve == 100
    other = EpisodeTracker(1, counts_bad=False, solve_return=1.5)
    other.load_state_dict(ruled.state_dict())
    assert other.state_dict()["recent"].tolist() == ruled.state_dict()["recent"].tolist()
    assert other.solved


def test_visitation():
    counter = VisitationCounter((2, 2), total_steps=10, snapshots=5)
    for step in range(2, 12, 2):
        counter.update(np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]]], np.float32), step)
    arrays = counter.arrays()
    assert arrays["visits"].tolist() == [[5, 0], [0, 5]]
    assert arrays["steps"].tolist() == [2, 4, 6, 8, 10]
    assert arrays["visits_at"][:, 0, 0].tolist() == [1, 2, 3, 4, 5]


def test_thompson_keeps_its_head_until_the_episode_ends():
    config = CderConfig(members=8)
    policy = BehaviourPolicy(config, 2, 200, np.random.default_rng(0))
    heads = policy.heads.copy()
    assert set(heads) == set(range(8))
    q = torch.randn(8, 200, 2, generator=torch.Generator().manual_seed(0))
    expected = q.numpy()[heads, np.arange(200)].argmax(-1)
    np.testing.assert_array_equal(policy(q, 0), expected)
    np.testing.assert_array_equal(policy(q, 0), expected)
    started = np.arange(200) < 100
    returns = np.arange(200.0)
    policy.begin_episodes(started, returns)
    for head in range(8):
        running = None
        for value in returns[:100][heads[:100] == head]:
            running = value if running is None else running + 0.1 * (value - running)
        assert policy.head_returns[head] == pytest.approx(running)
    assert policy.best_head == policy.head_returns.argmax()
    assert (policy.heads[100:] == heads[100:]).all()
    assert 60 < (policy.heads[:100] != heads[:100]).sum() < 100


def test_ucb_and_epsilon():
    q = torch.tensor([[[1.0, 0.0]], [[1.0, 1.8]]])
    assert ucb_scores(q, 0.0).argmax(1).tolist() == [0]
    assert ucb_scores(q, 1.0).argmax(1).tolist() == [1]
    config = CderConfig(behaviour="ucb", ucb_c=0.0, epsilon_start=1.0, epsilon_end=0.0, epsilon_steps=10)
    policy = BehaviourPolicy(config, 2, 1000, np.random.default_rng(0))
    wide = q.expand(2, 1, 2).repeat(1, 1000, 1)
    assert 400 < policy(wide, 0).sum() < 600
    assert policy(wide, 10).sum() == 0


def test_linear_schedule():
    assert [linear(0.4, 1.0, s, 10) for s in (0, 5, 10, 20)] == pytest.approx([0.4, 0.7, 1.0, 1.0])
    assert linear(0.4, 1.0, 3, 0) == 1.0
