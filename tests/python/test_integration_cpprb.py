"""The same calls to the real cpprb and to ``metarl_core.compat.cpprb``; without cpprb, its semantics in NumPy."""

import os

import numpy as np
import pytest

import metarl_core as mc
from metarl_core.compat import cpprb as ours

try:
    import cpprb as theirs
except ImportError:
    if "cpprb" in os.environ.get("METARL_REQUIRE", "").split(","):
        raise
    theirs = None

needs_cpprb = pytest.mark.skipif(theirs is None, reason="cpprb is not installed")

ENV = {
    "obs": {"shape": (3,)},
    "act": {"dtype": np.int64},
    "rew": {},
    "next_obs": {"shape": (3,)},
    "done": {},
    "image": {"shape": (2, 2), "dtype": np.uint8},
}


def rows(rng, count):
    return {
        "obs": rng.normal(size=(count, 3)),
        "act": rng.integers(9, size=count),
        "rew": rng.normal(size=count),
        "next_obs": rng.normal(size=(count, 3)),
        "done": rng.integers(2, size=count),
        "image": rng.integers(255, size=(count, 2, 2)),
    }


def twins(alpha=0.7, eps=0.05, size=32):
    return [lib.PrioritizedReplayBuffer(size, ENV, alpha=alpha, eps=eps) for lib in (ours, theirs)]


def same_content(a, b):
    mine, others = a.get_all_transitions(), b.get_all_transitions()
    assert mine.keys() == others.keys()
    for name in others:
        assert np.array_equal(mine[name], others[name]), name
        assert mine[name].dtype == others[name].dtype


def weights_by_slot(buffer, beta):
    """Every slot's weight: a large stratified batch has them all."""
    batch = buffer.sample(4096, beta)
    found = np.full(buffer.get_buffer_size(), np.nan)
    found[batch["indexes"]] = batch["weights"]
    return found[: buffer.get_stored_size()]


@needs_cpprb
def test_the_same_calls_give_the_same_buffer_as_cpprb():
    rng = np.random.default_rng(0)
    a, b = twins()
    for turn in range(40):
        what = rng.integers(3)
        if what == 0 or turn == 0:
            more = rows(rng, int(rng.integers(1, 7)))
            assert a.add(**more) == b.add(**more)
        elif what == 1:
            count = int(rng.integers(1, 6))
            more, given = rows(rng, count), rng.uniform(0, 3, count)
            assert a.add(priorities=given, **more) == b.add(priorities=given, **more)
        else:
            indexes = rng.choice(a.get_stored_size(), size=min(4, a.get_stored_size()), replace=False)
            errors = rng.uniform(0, 2 + turn / 10, len(indexes))
            for buffer in (a, b):
                buffer.sample(1)  # cpprb's check_for_update begins anew
                buffer.update_priorities(indexes, errors)
        assert a.get_stored_size() == b.get_stored_size()
        assert a.get_next_index() == b.get_next_index()
        assert a.get_buffer_size() == b.get_buffer_size()
        assert a.get_max_priority() == pytest.approx(b.get_max_priority(), rel=1e-6)
        same_content(a, b)
        for beta in (0.0, 0.5, 1.0):
            np.testing.assert_allclose(weights_by_slot(a, beta), weights_by_slot(b, beta), rtol=2e-5)
    for buffer in (a, b):
        buffer.clear()
    assert (a.get_stored_size(), a.get_next_index(), a.get_max_priority()) == (0, 0, 1.0)
    assert (b.get_stored_size(), b.get_next_index(), b.get_max_priority()) == (0, 0, 1.0)


@needs_cpprb
def test_samples_have_the_names_shapes_and_dtypes_of_cpprb():
    a, b = twins()
    more = rows(np.random.default_rng(1), 5)
    a.add(**more)
    b.add(**more)
    x, y = a.sample(7, beta=0.3), b.sample(7, beta=0.3)
    assert x.keys() == y.keys()
    for name in y:
        assert x[name].shape == y[name].shape, name
        if name != "indexes":
            assert x[name].dtype == y[name].dtype, name


@needs_cpprb
def test_n_step_returns_are_those_of_cpprb_but_for_its_ends():
    """Of the last n transitions of an episode cpprb 11.0.0 has other next observations, and one done that is 0."""
    env = {"obs": {}, "rew": {}, "next_obs": {}, "done": {}}
    nstep = {"size": 3, "gamma": 0.5, "rew": "rew", "next": "next_obs"}
    buffers = [lib.ReplayBuffer(64, env, Nstep=nstep) for lib in (ours, theirs)]
    rng, t, left = np.random.default_rng(2), 0, {}
    for length in (5, 1, 8, 3):
        for step in range(length):
            left[t] = length - step
            row = {"obs": t, "rew": rng.normal(), "next_obs": t + 1, "done": float(step == length - 1)}
            for buffer in buffers:
                buffer.add(**row)
            t += 1
        t += 1  # the first observation of the next episode is another
        buffers[0].on_episode_end()
        buffers[1].on_episode_end()
    wanted = buffers[1].get_all_transitions()
    by_obs = {float(obs): i for i, obs in enumerate(wanted["obs"][:, 0])}
    batch = buffers[0].sample(2000)
    assert {float(obs) for obs in batch["obs"][:, 0]} == set(by_obs)
    place = np.array([by_obs[float(obs)] for obs in batch["obs"][:, 0]])
    steps_left = np.array([left[int(obs)] for obs in batch["obs"][:, 0]])
    np.testing.assert_allclose(batch["rew"], wanted["rew"][place], rtol=1e-6)
    goes_on = steps_left > 3
    assert np.array_equal(batch["next_obs"][goes_on], wanted["next_obs"][place][goes_on])
    assert np.array_equal(batch["next_obs"][:, 0], batch["obs"][:, 0] + np.minimum(steps_left, 3))
    assert np.array_equal(batch["done"][:, 0], steps_left <= 3)
    assert np.array_equal(wanted["done"][place, 0], steps_left < 3)
    np.testing.assert_allclose(batch["discounts"][:, 0], np.where(goes_on, 0.5**3, 0))


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_probabilities_and_weights_against_numpy(beta):
    """P ~ (p + eps)^alpha, w = (n P)^-beta / max w; new transitions have the largest p so far, 1 at first."""
    buffer = ours.PrioritizedReplayBuffer(16, ENV, alpha=0.6, eps=0.1)
    rng = np.random.default_rng(3)
    buffer.add(**rows(rng, 8))
    buffer.update_priorities([1, 2, 5], [0.0, 0.5, 4.0])
    buffer.add(**rows(rng, 2))
    priorities = np.array([1, 0, 0.5, 1, 1, 4, 1, 1, 4, 4])
    masses = (priorities + 0.1) ** 0.6
    p = masses / masses.sum()
    batch = buffer.sample(50_000, beta=beta)
    found = np.bincount(batch["indexes"], minlength=10) / 50_000
    np.testing.assert_allclose(found, p, atol=1e-4)
    wanted = (10 * p[batch["indexes"]]) ** -beta / (10 * p.min()) ** -beta
    np.testing.assert_allclose(batch["weights"], wanted, rtol=1e-5)


def test_stored_once_with_next_of():
    buffer = ours.ReplayBuffer(32, {"obs": {"shape": 2}, "rew": {}, "done": {}}, next_of="obs")
    for t in range(6):
        buffer.add(obs=[t, t], rew=t, next_obs=[t + 1, t + 1], done=0)
    batch = buffer.sample(200)
    assert set(batch["obs"][:, 0]) == set(range(6))
    assert np.array_equal(batch["next_obs"], batch["obs"] + 1)
    with pytest.raises(ValueError, match="not with Nstep or next_of"):
        buffer.get_all_transitions()


def test_priorities_of_overwritten_transitions_are_ignored():
    for check in (True, False):
        buffer = ours.PrioritizedReplayBuffer(4, ENV, check_for_update=check)
        rng = np.random.default_rng(4)
        buffer.add(**rows(rng, 4))
        indexes = buffer.sample(4)["indexes"]
        buffer.add(**rows(rng, 2))  # slots 0 and 1
        buffer.update_priorities(indexes, np.full(4, 9.0))
        changed = buffer.core.priorities(np.arange(4)) > 5
        assert changed.tolist() == ([False, False, True, True] if check else [True] * 4)


@pytest.mark.parametrize("count", [5, 8, 11])
@pytest.mark.parametrize("cls", [ours.PrioritizedReplayBuffer, ours.ReplayBuffer])
def test_files_bring_everything_back(cls, count, tmp_path):
    """Without a seed, as one writes it: the random numbers come from the file, too."""
    buffer, other = cls(8, ENV), cls(8, ENV)
    for i in range(count):
        buffer.add(**rows(np.random.default_rng(i), 1))
    if cls is ours.PrioritizedReplayBuffer:
        buffer.update_priorities([0, 1], [7.0, 0.1])
    buffer.save_transitions(tmp_path / "replay")
    other.load_transitions(tmp_path / "replay")
    assert other.core.to_bytes() == buffer.core.to_bytes()
    assert (other.get_stored_size(), other.get_next_index()) == (min(count, 8), count % 8)
    goes_on_alike(other, buffer)


@pytest.mark.parametrize("count", [5, 11])
@pytest.mark.parametrize("cls", [ours.PrioritizedReplayBuffer, ours.ReplayBuffer])
def test_mapped_files_are_there_again(cls, count, tmp_path):
    buffer = cls(8, ENV, mmap_prefix=str(tmp_path / "columns"))
    twin = cls(8, ENV)
    for i in range(count):
        buffer.add(**rows(np.random.default_rng(i), 1))
    if cls is ours.PrioritizedReplayBuffer:
        buffer.update_priorities([0, 1], [7.0, 0.1])
    buffer.save_transitions(tmp_path / "replay")
    twin.load_transitions(tmp_path / "replay")
    buffer.core.close()
    again = cls(8, ENV, mmap_prefix=str(tmp_path / "columns"))
    assert (again.get_stored_size(), again.get_next_index()) == (min(count, 8), count % 8)
    goes_on_alike(again, twin)


def goes_on_alike(buffer, other):
    """The same slots, priorities and draws from here on."""
    if isinstance(buffer, ours.PrioritizedReplayBuffer):
        assert buffer.get_max_priority() == other.get_max_priority() == 7.0
    row = rows(np.random.default_rng(99), 1)
    assert buffer.add(**row) == other.add(**row)
    assert buffer.core.to_bytes() == other.core.to_bytes()
    mine, others = buffer.sample(64), other.sample(64)
    for name in others:
        assert np.array_equal(mine[name], others[name]), name


def test_a_file_of_an_empty_buffer(tmp_path):
    """The first priority is 1 + eps, also after loading one that never had a transition."""
    buffer = ours.PrioritizedReplayBuffer(8, ENV, eps=0.5)
    buffer.save_transitions(tmp_path / "replay")
    other = ours.PrioritizedReplayBuffer(8, ENV, eps=0.5)
    other.add(**rows(np.random.default_rng(0), 3))
    other.load_transitions(tmp_path / "replay")
    assert (other.get_stored_size(), other.get_next_index(), other.get_max_priority()) == (0, 0, 1.0)
    other.add(**rows(np.random.default_rng(0), 1))
    assert other.core.priorities().tolist() == [1.5]


def test_other_seeds_given_do_not_fit(tmp_path):
    ours.ReplayBuffer(8, ENV, seed=3).save_transitions(tmp_path / "replay")
    with pytest.raises(mc.CheckpointMismatchError, match="seed is 3 in the checkpoint and 4 in this buffer"):
        ours.ReplayBuffer(8, ENV, seed=4).load_transitions(tmp_path / "replay")


def test_shuffled_and_seeded():
    found = []
    for _ in range(2):
        np.random.seed(3)  # noqa: NPY002 - the generator that decides
        buffer = ours.ReplayBuffer(8, {"obs": {}})
        buffer.add(obs=np.arange(8))
        found.append((buffer.sample(20)["obs"], buffer.get_all_transitions(shuffle=True)["obs"]))
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])
    assert sorted(found[0][1][:, 0]) == list(range(8))
    np.random.seed(4)  # noqa: NPY002
    other = ours.ReplayBuffer(8, {"obs": {}})
    other.add(obs=np.arange(8))
    assert not np.array_equal(other.sample(20)["obs"], found[0][0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda b: b.update_priorities([0], [-1.0]), ValueError, r"priorities\[0\] is -1.0; must be finite and >= 0"),
        (lambda b: b.update_priorities([0, 1], [0.0, np.nan]), ValueError, r"priorities\[1\] is nan"),
        (lambda b: b.update_priorities([7], [1.0]), IndexError, "7"),
        (lambda b: b.add(obs=np.zeros(3)), KeyError, "act"),
        (lambda b: b.add(priorities=[1.0, 2.0], **rows(np.random.default_rng(0), 3)), ValueError, "3 rows"),
        (lambda b: b.add(reward=1.0), KeyError, "'reward' is not in env_dict"),
        (lambda b: b.add(priorities=[np.inf], **rows(np.random.default_rng(0), 1)), ValueError, "inf"),
        (lambda b: b.sample(3, beta=-1), ValueError, "beta"),
        (lambda b: ours.ReplayBuffer(8, ENV, stack_compress="obs"), ValueError, "frame_stack"),
        (lambda b: ours.ReplayBuffer(8, {"obs": {}}, next_of="image"), KeyError, "image"),
        (lambda b: ours.ReplayBuffer(8, {"obs": {}}, Nstep={"size": 3, "rew": "rew"}), KeyError, "'rew' is not in"),
        (lambda b: ours.ReplayBuffer(0, ENV), ValueError, "capacity"),
    ],
)
def test_bad_input_changes_nothing(call, error, message):
    buffer = ours.PrioritizedReplayBuffer(8, ENV)
    buffer.add(**rows(np.random.default_rng(6), 5))
    before = buffer.core.to_bytes(), buffer.get_max_priority()
    with pytest.raises(error, match=message):
        call(buffer)
    assert (buffer.core.to_bytes(), buffer.get_max_priority()) == before


def test_an_empty_buffer():
    with pytest.raises(mc.BufferEmptyError):
        ours.PrioritizedReplayBuffer(8, ENV).sample(1)
