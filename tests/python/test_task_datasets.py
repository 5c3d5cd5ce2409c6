"""Datasets of one task: checks, episodes, recording in every autoreset mode, replay buffers, Minari's format."""

import numpy as np
import pytest

from metarl_core import PrioritizedReplayBuffer, ReplayBuffer, fields_from_spaces, make_vec
from metarl_core.tasks import TaskDataset, task_family

COLUMNS = ("obs", "actions", "rewards", "next_obs", "terminated", "truncated", "episode")


def columns(n=6, **changes):
    """Two episodes, of 2 and n - 2 rows; the second one is cut."""
    obs = np.arange(2.0 * n, dtype=np.float32).reshape(n, 2)
    made = {
        "obs": obs,
        "actions": np.arange(n) % 3,
        "rewards": np.arange(n) + 0.5,
        "next_obs": obs + 2,
        "terminated": np.arange(n) == 1,
        "truncated": np.zeros(n, bool),
        "episode": np.repeat([4, 9], [2, n - 2]),
    }
    return {**made, **changes}


def made(n=6, **changes):
    return TaskDataset(**columns(n, **changes), action_space=3)


def assert_equal(a, b):
    for name in COLUMNS:
        assert getattr(a, name).dtype == getattr(b, name).dtype, name
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_episodes_returns_and_rows():
    given = columns()
    data = TaskDataset(**given, action_space=3, metadata={"task": "x", "seed": 1})
    assert len(data) == 6
    assert data.num_actions == 3
    assert data.episodes.tolist() == [4, 9]
    assert data.lengths.tolist() == [2, 4]
    assert data.returns.tolist() == [0.5 + 1.5, 2.5 + 3.5 + 4.5 + 5.5]
    assert data.complete.tolist() == [True, False]
    batch = data[np.array([5, 0, 0])]
    assert list(batch) == ["obs", "action", "reward", "next_obs", "terminated", "truncated"]
    assert batch["reward"].tolist() == [5.5, 0.5, 0.5]
    assert data[data.terminated]["reward"].tolist() == [1.5]
    assert data[1:3]["action"].tolist() == [1, 2]
    given["obs"][:] = -1
    batch["reward"][:] = -1
    assert data.obs.min() == 0
    assert data.rewards.min() == 0.5
    with pytest.raises(ValueError, match="read-only"):
        data.obs[0] = 1
    data.metadata["task"] = "y"
    assert data.metadata == {"task": "x", "seed": 1}


def test_rows_out_of_range():
    data = made()
    for rows, error in [([6], IndexError), ([-1], IndexError), ([0.5], TypeError), (2, TypeError)]:
        with pytest.raises(error, match="rows"):
            data[rows]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rewards": [0.0, np.nan, 0, 0, 0, 0]}, ValueError, r"rewards\[1\] is nan; must be finite"),
        ({"rewards": np.zeros(5)}, ValueError, "rewards has 5 rows; must have 6"),
        ({"rewards": np.zeros((6, 1))}, ValueError, r"rewards has shape \(6, 1\); must be \(6,\)"),
        ({"next_obs": np.full((6, 2), np.inf)}, ValueError, r"next_obs\[0, 0\] is inf; must be finite"),
        ({"next_obs": np.zeros((6, 3))}, ValueError, r"next_obs has shape \(6, 3\); must be \(6, 2\)"),
        ({"actions": np.full(6, 3)}, ValueError, r"actions\[0\] is 3; must be in \[0, 2\]"),
        ({"actions": np.zeros(6)}, TypeError, "actions has dtype float64; must be int64"),
        ({"terminated": np.zeros(6)}, TypeError, "terminated has dtype float64; must be bool"),
        ({"terminated": np.arange(6) == 3}, ValueError, r"terminated\[3\] is True in the midst of episode 9"),
        ({"truncated": np.arange(6) == 0}, ValueError, r"truncated\[0\] is True in the midst of episode 4"),
        ({"episode": np.array([4, 9, 9, 9, 4, 4])}, ValueError, r"episode\[4\] is 4 again"),
        ({"episode": np.full(6, -1)}, ValueError, r"episode\[0\] is -1"),
        ({"obs": {"a": np.zeros(6)}}, TypeError, "obs is a dict of arrays; must be one array: flatten Dict"),
        ({"obs": np.array(["a"] * 6)}, TypeError, "obs has dtype <U1"),
    ],
)
def test_bad_columns(changes, error, message):
    with pytest.raises(error, match=message):
        made(**changes)


def test_bad_spaces_and_metadata():
    with pytest.raises(ValueError, match="action_space is None, but the actions are int64"):
        TaskDataset(**columns())
    with pytest.raises(ValueError, match="obs is empty"):
        TaskDataset(**{name: array[:0] for name, array in columns().items()}, action_space=3)
    with pytest.raises(TypeError, match="metadata cannot be written as JSON"):
        TaskDataset(**columns(), action_space=3, metadata={"x": np.zeros(2)})
    with pytest.raises(TypeError, match=r"actions of Box.* are not supported"):
        TaskDataset(**columns(actions=np.zeros(6)))


def test_split_is_by_whole_episodes_and_disjoint():
    data = TaskDataset.record("CartPole-v1", steps=3000, seed=1)
    parts = data.split((0.5, 0.3), seed=3)
    numbers = [set(part.episodes.tolist()) for part in parts]
    assert not numbers[0] & numbers[1]
    assert [len(found) for found in numbers] == [round(0.5 * len(data.episodes)), len(numbers[1])]
    for part in parts:
        for number in part.episodes:
            np.testing.assert_array_equal(part.obs[part.episode == number], data.obs[data.episode == number])
    for a, b in zip(parts, data.split((0.5, 0.3), seed=3), strict=True):
        assert_equal(a, b)
    assert set(data.split((0.5, 0.3), seed=4)[0].episodes.tolist()) != numbers[0]
    for fractions, message in [((0.7, 0.7), "sum <= 1"), ((0.0, 1.0), "> 0"), ((1e-6, 0.5), "gets none")]:
        with pytest.raises(ValueError, match=message):
            data.split(fractions)


def test_concatenate_numbers_episodes_anew():
    a = made(metadata=None)
    whole = TaskDataset.concatenate([a, a])
    assert whole.episode.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3]
    np.testing.assert_array_equal(whole.rewards, np.tile(a.rewards, 2))
    other = TaskDataset(**columns(obs=np.zeros((6, 3)), next_obs=np.zeros((6, 3))), action_space=3)
    with pytest.raises(ValueError, match=r"datasets\[1\] has the observation_space"):
        TaskDataset.concatenate([a, other])
    with pytest.raises(ValueError, match="datasets is empty"):
        TaskDataset.concatenate([])


def left_or_right(obs):
    return (obs[:, 2] > 0).astype(np.int64)


def stepped(num_envs, steps, seed, limit):
    """Transitions by single environments and plain steps, which reset by hand: an independent reference."""
    rows = []
    envs = make_vec("CartPole-v1", num_envs, autoreset_mode="disabled", seed=0, max_episode_steps=limit)
    obs, _ = envs.reset(seed=seed)
    number = np.zeros(num_envs, int)
    for time in range(steps):
        actions = left_or_right(obs)
        after, reward, terminated, truncated, _ = envs.step(actions)
        for i in range(num_envs):
            rows.append((i, time, number[i], obs[i], actions[i], reward[i], after[i], terminated[i], truncated[i]))
        done = terminated | truncated
        number += done
        obs = envs.reset(options={"reset_mask": done})[0] if done.any() else after
    envs.close()
    return sorted(rows, key=lambda row: row[:2])


@pytest.mark.parametrize("mode", ["next_step", "same_step", "disabled"])
def test_recording_against_plain_steps(mode):
    steps, limit = 300, 30
    envs = make_vec("CartPole-v1", 3, autoreset_mode=mode, max_episode_steps=limit)
    data = TaskDataset.record(envs, left_or_right, episodes=12, seed=5)
    rows = [row for row in stepped(3, steps, 5, limit) if row[2] < 4]
    assert data.complete.all()
    assert len(data.episodes) == 12
    assert data.truncated.any()
    assert data.terminated.any()
    for name, column in zip(
        ("obs", "actions", "rewards", "next_obs", "terminated", "truncated"), range(3, 9), strict=True
    ):
        np.testing.assert_array_equal(getattr(data, name), np.array([row[column] for row in rows]), err_msg=name)
    assert data.metadata["policy"] == "left_or_right"


def test_recorded_rows_follow_one_another_and_episodes_restart():
    data = TaskDataset.record("Pendulum-v1", steps=1000, num_envs=3, seed=2, task={"m": 1.2})
    assert len(data) == 1000
    inside = np.diff(data.episode) == 0
    np.testing.assert_array_equal(data.obs[1:][inside], data.next_obs[:-1][inside])
    assert (data.obs[1:][~inside] != data.next_obs[:-1][~inside]).any(axis=1).all()
    assert (data.lengths[data.complete] == 200).all()
    assert data.metadata["task_params"] == {"m": 1.2}
    assert data.metadata["task"] == "Pendulum-v1(m=1.2)"
    assert_equal(data, TaskDataset.record("Pendulum-v1", steps=1000, num_envs=3, seed=2, task={"m": 1.2}))
    other = TaskDataset.record("Pendulum-v1", steps=1000, num_envs=3, seed=2, task={"m": 0.8})
    assert (other.next_obs != data.next_obs).any()


def test_recording_refuses_mixed_tasks():
    envs = make_vec("CartPole-v1", 2)
    envs.set_tasks({"length": [0.5, 0.7]})
    with pytest.raises(ValueError, match=r"row 1 of the environments has length=0\.7 and row 0 0\.5"):
        TaskDataset.record(envs, steps=10)
    envs.sample_tasks_at_reset(task_family("CartPole-v1").sample_tasks(50))
    with pytest.raises(ValueError, match=r"row 1 of the environments|another task at a reset"):
        TaskDataset.record(envs, steps=200)
    for arguments in ({}, {"steps": 1, "episodes": 1}):
        with pytest.raises(TypeError, match="either steps or episodes"):
            TaskDataset.record("CartPole-v1", **arguments)
    with pytest.raises(TypeError, match=r"observation space is Tuple.*must be Box or Discrete"):
        TaskDataset.record("Blackjack-v1", steps=5)
    with pytest.raises(TypeError, match="env is a int"):
        TaskDataset.record(3, steps=5)


@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
def test_through_a_replay_buffer_and_back(kind):
    first = TaskDataset.record("CartPole-v1", steps=300, seed=1)
    second = TaskDataset.record("CartPole-v1", steps=200, seed=2, task={"length": 1.0})
    fields = fields_from_spaces(first.observation_space, first.action_space)
    buffer = kind(1000, {**fields, "task": ((), np.uint16)}, task_field="task", seed=3)
    first.replay(buffer, task_id=0)
    assert second.replay(buffer, task_id=7) is buffer
    assert buffer.task_counts() == {0: 300, 7: 200}
    back = TaskDataset.from_buffer(buffer, 7, action_space=2)
    assert len(back) == len(back.episodes) == 200
    order = np.lexsort(back.obs.T)
    expected = np.lexsort(second.obs.T)
    np.testing.assert_array_equal(back.obs[order], second.obs[expected])
    np.testing.assert_array_equal(back.next_obs[order], second.next_obs[expected])
    some = TaskDataset.from_buffer(buffer, 0, 150, action_space=2)
    assert len(np.unique(some.obs, axis=0)) == 150
    with pytest.raises(ValueError, match="transitions is 301; task 0 of the buffer has 300"):
        TaskDataset.from_buffer(buffer, 0, 301, action_space=2)
    with pytest.raises(ValueError, match="task_id is None, but the buffer has the task field 'task'"):
        first.replay(buffer)


def test_drawing_from_a_buffer_is_uniform_whatever_the_priorities():
    rows = 40
    data = made(rows)
    buffer = data.replay(task_id=1)
    buffer.update_priorities(np.arange(rows), np.where(np.arange(rows) < 4, 1e4, 1e-4))
    counts = np.zeros(rows)
    for _ in range(600):
        counts[(TaskDataset.from_buffer(buffer, 1, 10, action_space=3).rewards - 0.5).astype(int)] += 1
    # hypergeometric: 600 draws of 10 of 40, each row with probability 1/4
    z = (counts - 150) / np.sqrt(600 * 0.25 * 0.75)
    print(f"largest |z| of {rows} rows: {np.abs(z).max():.2f}")
    assert np.abs(z).max() < 4.5


def test_n_step_returns_of_a_replayed_dataset_stop_at_the_cut():
    data = made()
    fields = fields_from_spaces(data.observation_space, data.action_space)
    buffer = ReplayBuffer(10, fields, n_step=3, gamma=0.5)
    data.replay(buffer)
    batch = buffer.sample(200, mode="uniform")
    returns = dict(zip(batch["obs"][:, 0].tolist(), batch["reward"].tolist(), strict=True))
    assert returns[0.0] == 0.5 + 0.5 * 1.5
    assert returns[2.0] == 1.5
    with pytest.raises(ValueError, match="n_step=3"):
        TaskDataset.from_buffer(buffer, action_space=3)


MINARI_CASES = {
    "discrete": ("CartPole-v1", {"max_episode_steps": 20}, {"steps": 333}),
    "box": ("Pendulum-v1", {}, {"steps": 450}),
    "discrete observations": ("FrozenLake-v1", {}, {"episodes": 12}),
    "bool images": ("MinAtar/Breakout-v1", {}, {"steps": 60}),
}


@pytest.fixture
def minari():
    pytest.importorskip("h5py", reason="needs minari: pip install 'metarl-core[minari]'")
    return pytest.importorskip("minari", reason="needs minari: pip install 'metarl-core[minari]'")


@pytest.mark.parametrize("case", MINARI_CASES)
def test_minari_round_trip(case, tmp_path, minari):
    env_id, params, length = MINARI_CASES[case]
    data = TaskDataset.record(env_id, seed=4, params=params, num_envs=2, **length)
    part = data.take_episodes(data.episodes[::-2])  # other numbers, another order
    for kept in (data, part):
        path = tmp_path / f"{len(kept)}"
        kept.save(path)
        loaded = TaskDataset.load(path)
        assert_equal(loaded, kept)
        assert loaded.metadata == kept.metadata
        assert repr(loaded) == repr(kept)
        again = tmp_path / f"{len(kept)}-again"
        loaded.save(again)  # with Gymnasium's spaces
        assert_equal(TaskDataset.load(again / "data"), kept)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(
        f"{len(kept)}{end}" for kept in (data, part) for end in ("", "-again")
    )


def test_minari_reads_what_we_write(tmp_path, minari, monkeypatch):
    data = TaskDataset.record("CartPole-v1", steps=300, seed=4, params={"max_episode_steps": 20})
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    data.save(tmp_path / "ours-v3", "ours-v3")
    theirs = minari.load_dataset("ours-v3")
    assert theirs.total_steps == 300
    assert theirs.total_episodes == len(data.episodes)
    assert theirs.action_space.n == 2
    assert theirs.observation_space.shape == (4,)
    for number, episode in enumerate(theirs):
        rows = data.episode == number
        np.testing.assert_array_equal(episode.observations[:-1], data.obs[rows])
        np.testing.assert_array_equal(episode.observations[1:], data.next_obs[rows])
        np.testing.assert_array_equal(episode.actions, data.actions[rows])
        np.testing.assert_array_equal(episode.rewards, data.rewards[rows])
        np.testing.assert_array_equal(episode.terminations, data.terminated[rows])
        np.testing.assert_array_equal(episode.truncations, data.truncated[rows])
    assert data.truncated.any()
    short = theirs.filter_episodes(lambda episode: len(episode) < 20)
    assert len(TaskDataset.load(short)) == data.lengths[data.lengths < 20].sum()


def test_we_read_what_minari_writes(tmp_path, minari, monkeypatch):
    import gymnasium

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    rng = np.random.default_rng(0)
    buffers = [
        minari.data_collector.episode_buffer.EpisodeBuffer(
            observations=rng.normal(size=(n + 1, 3)).astype(np.float32),
            actions=rng.uniform(-1, 1, (n, 2)).astype(np.float32),
            rewards=list(rng.normal(size=n)),
            terminations=[False] * n,
            truncations=[False] * (n - 1) + [True],
        )
        for n in (4, 7)
    ]
    spaces = {
        "observation_space": gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32),
        "action_space": gymnasium.spaces.Box(-1, 1, (2,), np.float32),
    }
    with pytest.warns(UserWarning, match="is set to None|env_spec is None"):
        theirs = minari.create_dataset_from_buffers("theirs-v0", buffers, algorithm_name="noise", **spaces)
    data = TaskDataset.load(theirs)
    assert data.lengths.tolist() == [4, 7]
    assert data.complete.all()
    np.testing.assert_array_equal(data.next_obs[4:], buffers[1].observations[1:])
    np.testing.assert_array_equal(data.rewards, np.concatenate([b.rewards for b in buffers]))
    assert data.metadata == {"task": "theirs-v0", "policy": "noise"}

    nested = {"observation_space": gymnasium.spaces.Dict({"a": spaces["observation_space"]})}
    wrapped = [
        minari.data_collector.episode_buffer.EpisodeBuffer(**{**vars(b), "observations": {"a": b.observations}})
        for b in buffers
    ]
    with pytest.warns(UserWarning, match="is set to None|env_spec is None"):
        dict_data = minari.create_dataset_from_buffers("dict-v0", wrapped, **{**spaces, **nested})
    with pytest.raises(TypeError, match=r"observation_space of dict-v0 is Dict.*must be Box or Discrete"):
        TaskDataset.load(dict_data)


def test_saving_refuses_and_leaves_nothing(tmp_path, minari):
    data = made()
    apart = TaskDataset(**columns(next_obs=columns()["obs"]), action_space=3)
    with pytest.raises(ValueError, match=r"next_obs\[0\] differs from obs\[1\], of the same episode 4"):
        apart.save(tmp_path / "x")
    with pytest.raises(ValueError, match="must end with a version"):
        data.save(tmp_path / "x", "name")
    assert not list(tmp_path.iterdir())
    data.save(tmp_path / "x")
    with pytest.raises(FileExistsError, match="which exists"):
        data.save(tmp_path / "x")
    with pytest.raises(FileNotFoundError, match="holds no dataset"):
        TaskDataset.load(tmp_path)
