"""Our prioritized buffers under Tianshou's algorithms, against formulas in float64 and the library's own buffers."""

import copy
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tianshou")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import gymnasium
    from tianshou.algorithm import DQN
    from tianshou.algorithm.algorithm_base import Algorithm, policy_within_training_step
    from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import (
        Batch,
        PrioritizedReplayBuffer,
        PrioritizedVectorReplayBuffer,
        SegmentTree,
        VectorReplayBuffer,
    )
    from tianshou.utils.net.common import Net

import metarl_core as mc  # noqa: E402
from metarl_core.integrations.tianshou import (  # noqa: E402
    MetaRLPrioritizedReplayBuffer,
    MetaRLPrioritizedVectorReplayBuffer,
)

ALPHA, EPS = 0.7, float(np.finfo(np.float32).eps)
ENVS = 3


def stream(count, envs=ENVS, seed=0):
    """Rows of ``envs`` environments, as a collector hands them to ``add``."""
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(envs, 4))
    for step in range(count):
        last = rng.normal(size=(envs, 4))
        terminated, truncated = rng.random(envs) < 0.15, rng.random(envs) < 0.1
        yield Batch(
            obs=obs,
            act=rng.integers(2, size=envs),
            rew=np.arange(envs) + 100.0 * step,  # each one is there once
            terminated=terminated,
            truncated=truncated,
            obs_next=last,
            info=np.array([{"env_id": i} for i in range(envs)]),
        )
        obs = np.where((terminated | truncated)[:, None], rng.normal(size=(envs, 4)), last)


def filled(count=12, total=60, cls=MetaRLPrioritizedVectorReplayBuffer, **options):
    buffer = cls(total, ENVS, **{"alpha": ALPHA, "beta": 0.5, **options})
    for row in stream(count):
        buffer.add(row)
    return buffer


def with_priorities(count=12, **options):
    buffer = filled(count, **options)
    slots = buffer.sample_indices(0)
    errors = np.random.default_rng(1).normal(size=len(slots)) * 3
    buffer.update_weight(slots, torch.from_numpy(errors))
    priorities = np.zeros(buffer.maxsize)
    priorities[slots] = np.abs(errors) + EPS
    return buffer, priorities


def test_samples_are_what_was_stored_also_after_the_rings_wrap():
    buffer = filled(33, total=30)
    batch, slots = buffer.sample(400)
    rows = list(stream(33))[-10:]
    known = {float(row.rew[i]): (row, i) for row in rows for i in range(ENVS)}
    assert set(batch.rew.tolist()) == set(known)
    for j, reward in enumerate(batch.rew.tolist()):
        row, i = known[reward]
        for name in ("obs", "act", "terminated", "truncated", "obs_next"):
            assert np.array_equal(batch[name][j], row[name][i]), name
        assert slots[j] // 10 == i
    assert np.array_equal(batch.info.env_id, slots // 10)


@pytest.mark.parametrize("stratified", [True, False])
def test_frequencies_and_weights_against_float64(stratified):
    buffer, priorities = with_priorities(stratified=stratified)
    masses = np.where(priorities > 0, priorities, 0) ** ALPHA
    masses[priorities == 0] = 0
    p = masses / masses.sum()
    draws = 40_000
    batch, slots = buffer.sample(draws)
    counts = np.bincount(slots, minlength=60)
    assert (counts[p == 0] == 0).all()
    if stratified:
        assert np.abs(counts - draws * p).max() < 2
    else:
        there = p > 0
        chi2 = ((counts - draws * p)[there] ** 2 / (draws * p)[there]).sum()
        assert chi2 < 35 + 5 * np.sqrt(2 * 35)
    w = (36 * p[slots]) ** -0.5
    np.testing.assert_allclose(batch.weight, w / w.max(), rtol=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("weight_norm", [True, False])
def test_weights(weight_norm, beta):
    buffer, priorities = with_priorities(beta=beta, weight_norm=weight_norm)
    p = priorities[priorities > 0] ** ALPHA
    batch, slots = buffer.sample(8)
    w = priorities[slots] ** (-ALPHA * beta)
    largest = w.max() if weight_norm else (p**-beta).max()
    np.testing.assert_allclose(batch.weight, w / largest, rtol=1e-6)


def test_trees_and_weights_are_those_of_the_librarys_own_buffer():
    """The same rows and updates to both, over full rings."""
    ours = MetaRLPrioritizedVectorReplayBuffer(30, ENVS, ALPHA, 0.6)
    theirs = PrioritizedVectorReplayBuffer(30, ENVS, alpha=ALPHA, beta=0.6)
    rng = np.random.default_rng(0)
    for row in stream(40):
        results = [buffer.add(copy.deepcopy(row)) for buffer in (ours, theirs)]
        for a, b in zip(*results, strict=True):
            assert np.array_equal(a, b)
        slots = rng.choice(ours.sample_indices(0), 4)
        errors = rng.normal(size=4) * 3
        for buffer in (ours, theirs):
            buffer.update_weight(slots, errors)
        everywhere = np.arange(30)
        np.testing.assert_allclose(ours.weight[everywhere], theirs.weight[everywhere], rtol=1e-6)
        assert ours.weight.reduce() == pytest.approx(theirs.weight.reduce(), rel=1e-6)
        assert ours.weight.reduce(3, 7) == pytest.approx(theirs.weight.reduce(3, 7), rel=1e-6)
        np.testing.assert_allclose(ours[slots].weight, theirs[slots].weight, rtol=1e-6)
    assert ours._max_prio == theirs._max_prio
    masses = rng.random(50) * theirs.weight.reduce()
    assert np.array_equal(ours.weight.get_prefix_sum_idx(masses), theirs.weight.get_prefix_sum_idx(masses))
    assert not isinstance(ours.weight, SegmentTree)


def test_one_environment():
    ours = MetaRLPrioritizedReplayBuffer(8, ALPHA, 0.6)
    theirs = PrioritizedReplayBuffer(8, ALPHA, 0.6)
    for row in stream(12, envs=1):
        for buffer in (ours, theirs):
            buffer.add(row[0])
    for buffer in (ours, theirs):
        buffer.update_weight(np.arange(8), np.arange(8.0) + 0.5)
    np.testing.assert_allclose(ours[np.arange(8)].weight, theirs[np.arange(8)].weight, rtol=1e-6)
    other = MetaRLPrioritizedReplayBuffer(20, ALPHA, 0.6)
    other.update(ours)
    assert set(other.sample(200)[0].rew.tolist()) == set(ours.rew.tolist())


@pytest.mark.parametrize("weight_norm", [True, False])
def test_slots_counted_from_the_end(weight_norm):
    """``buffer[-1]`` is the last slot's row, as of every NumPy array; the library's own weight is another slot's."""
    options = {"weight_norm": weight_norm}
    many, one = filled(25, total=30, **options), MetaRLPrioritizedReplayBuffer(8, ALPHA, 0.5, **options)
    for row in stream(12, envs=1):
        one.add(row[0])
    for buffer in (many, one):
        size = buffer.maxsize
        buffer.update_weight(np.arange(size), np.arange(1.0, size + 1))
        for index in (-1, -size, [-1, 2, -3], np.array([-2, -2]), np.array([[-1], [0]])):
            row, wanted = buffer[index], buffer[np.asarray(index) % size]
            assert np.array_equal(row.rew, wanted.rew)
            assert np.array_equal(row.obs, wanted.obs)
            assert np.array_equal(row.weight, wanted.weight)
        assert buffer.get_weight(-1) == buffer.get_weight(size - 1) != buffer.get_weight(0)
        for outside in (-size - 1, size, [0, size]):
            with pytest.raises(IndexError, match=f"out of range for size {size}"):
                buffer.get_weight(outside)


@pytest.mark.parametrize("n_step", [1, 3, 5])
def test_nstep_returns_are_the_librarys_and_the_formula(n_step):
    ours = filled(25, total=30)
    plain = VectorReplayBuffer(30, ENVS)
    for row in stream(25):
        plain.add(row)
    slots = ours.sample_indices(64)

    def q(buffer, indices):
        return torch.from_numpy(buffer.obs_next[indices].sum(-1, keepdims=True))

    found, wanted = (
        Algorithm.compute_nstep_return(buffer[slots], buffer, slots, q, 0.9, n_step).returns for buffer in (ours, plain)
    )
    assert torch.equal(found, wanted)
    rows = list(stream(25))[-10:]
    for slot, value in zip(slots, found.flatten().tolist(), strict=True):
        env = slot // 10
        begin = next(t for t, row in enumerate(rows) if row.rew[env] == ours.rew[slot])
        total = 0.0
        for k in range(n_step):
            row = rows[begin + k]
            total += 0.9**k * row.rew[env]
            if row.terminated[env] or row.truncated[env] or begin + k == 9:
                break
        bootstrap = 0.0 if row.terminated[env] else row.obs_next[env].sum()
        assert value == pytest.approx(total + 0.9 ** (k + 1) * bootstrap, rel=1e-6), (slot, begin, k)


def test_new_rows_get_the_largest_priority_so_far():
    buffer = filled(2)
    buffer.update_weight(np.array([0, 20]), np.array([5.0, -9.0]))
    (row,) = stream(1, seed=3)
    slots = buffer.add(row)[0]
    np.testing.assert_allclose(buffer.weight[slots], (9 + EPS) ** ALPHA, rtol=1e-7)


def test_priorities_change_what_is_drawn_and_of_equal_slots_the_last_wins():
    buffer = filled()
    slots = buffer.sample_indices(0)
    buffer.update_weight(slots, np.full(len(slots), 1e-6))
    buffer.update_weight(np.array([22, 5, 22]), torch.tensor([0.0, 1e6, 1e6]))
    drawn = buffer.sample_indices(200)
    assert np.isin(drawn, [5, 22]).mean() > 0.99
    assert 80 < (drawn == 22).sum() < 120


def test_beta_set_later_is_used():
    """The library's own goes on with the first one."""
    buffer, _ = with_priorities(beta=0.0)
    assert (buffer.sample(16)[0].weight == 1).all()
    buffer.set_beta(1.0)
    assert buffer.sample(16)[0].weight.min() < 0.9
    twin, _ = with_priorities(beta=1.0)
    slots = twin.sample_indices(16)
    assert np.array_equal(buffer[slots].weight, twin[slots].weight)


def test_reset_forgets_priorities_too():
    """The library's own draws slots that are empty then."""
    buffer, _ = with_priorities()
    buffer.reset()
    with pytest.raises(mc.BufferEmptyError):
        buffer.sample(4)
    (row,) = stream(1)
    slots = buffer.add(row)[0]
    assert set(buffer.sample_indices(100)) == set(slots)
    assert np.allclose(buffer.weight[slots], 1)


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "hdf5"])
def test_saved_and_loaded_it_goes_on_with_the_same_batches(way, tmp_path):
    buffer, _ = with_priorities()
    buffer.sample(10)
    if way == "pickle":
        other = pickle.loads(pickle.dumps(buffer))
    elif way == "deepcopy":
        other = copy.deepcopy(buffer)
    else:
        buffer.save_hdf5(tmp_path / "replay.hdf5")
        other = MetaRLPrioritizedVectorReplayBuffer.load_hdf5(tmp_path / "replay.hdf5")
    rows = list(stream(30, seed=8))
    for row in rows:
        (a, i), (b, j) = buffer.sample(16), other.sample(16)
        assert np.array_equal(i, j)
        assert np.array_equal(a.weight, b.weight)
        assert np.array_equal(a.obs, b.obs)
        for each in (buffer, other):
            each.update_weight(i, a.rew)
            each.add(row)


def test_the_seed_decides_what_is_drawn():
    drawn = [filled(random_seed=seed).sample_indices(64) for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def dqn(seed=0, n_step=1):
    torch.manual_seed(seed)
    box, two = gymnasium.spaces.Box(-9, 9, (4,)), gymnasium.spaces.Discrete(2)
    net = Net(state_shape=(4,), action_shape=(2,), hidden_sizes=[16])
    policy = DiscreteQLearningPolicy(model=net, action_space=two, observation_space=box)
    return DQN(
        policy=policy,
        optim=AdamOptimizerFactory(lr=1e-2),
        gamma=0.9,
        n_step_return_horizon=n_step,
        target_update_freq=10,
    )


def update(beta, n_step=3):
    """One update of the library's DQN with this beta; (parameters, loss, buffer, weights before)."""
    algorithm = dqn(n_step=n_step)
    buffer, _ = with_priorities(beta=beta, random_seed=5)
    before = pickle.loads(pickle.dumps(buffer))
    with policy_within_training_step(algorithm.policy):
        stats = algorithm.update(buffer=buffer, sample_size=16)
    parameters = torch.cat([p.detach().flatten() for p in algorithm.policy.parameters()])
    return parameters, stats.loss, buffer, before


def test_the_librarys_dqn_uses_the_weights_and_hands_priorities_back():
    flat, _, buffer, before = update(0.0)
    weighted, loss, again, _ = update(1.0)
    assert not torch.allclose(flat, weighted)
    assert torch.equal(weighted, update(1.0)[0])
    slots = before.sample_indices(16)  # what the update has drawn
    with torch.no_grad():
        algorithm = dqn(n_step=3)
        batch = before[slots]
        values = algorithm.compute_nstep_return(batch, before, slots, algorithm._target_q, 0.9, 3).returns.flatten()
        q = algorithm.policy(Batch(obs=batch.obs, info=Batch())).logits[np.arange(16), batch.act]
    delta = (values - q).double().numpy()
    before.set_beta(1.0)
    w = before[slots].weight
    assert w.min() < 0.9
    assert loss == pytest.approx((w * delta**2).mean(), rel=1e-4)
    last = dict(zip(slots.tolist(), np.abs(delta) + EPS, strict=True))
    wanted = np.array([last[slot] for slot in slots.tolist()]) ** ALPHA
    np.testing.assert_allclose(buffer.weight[slots], wanted, rtol=1e-4)
    np.testing.assert_allclose(again.weight[slots], wanted, rtol=1e-4)
    untouched = np.setdiff1d(before.sample_indices(0), slots)
    kept = before.weight[untouched]  # but for the rounding of fixed-point numbers whose largest has grown
    np.testing.assert_allclose(buffer.weight[untouched], kept, rtol=0, atol=buffer.weight[slots].max() * 2**-28)


@pytest.mark.parametrize(
    ("index", "values", "error", "message"),
    [
        ([0, 1], [1.0, np.nan], ValueError, r"new_weight\[1\] is nan; must be finite"),
        ([0, 1], [np.inf, 1.0], ValueError, r"new_weight\[0\] is inf"),
        ([0, 1], [1.0], ValueError, "new_weight has 1 numbers; must have one for each of 2 indices"),
        ([0, 60], [1.0, 1.0], IndexError, "index 60 at position 1 out of range for size 60"),
        ([-1], [1.0], IndexError, "index -1 at position 0"),
        ([0, 15], [1.0, 1.0], IndexError, "index 15 at position 1: no transition is stored there"),
    ],
)
def test_bad_updates_change_nothing(index, values, error, message):
    buffer, _ = with_priorities()
    before = buffer.weight[np.arange(60)]
    with pytest.raises(error, match=message):
        buffer.update_weight(np.array(index), np.array(values))
    assert np.array_equal(buffer.weight[np.arange(60)], before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "alpha is 0; must be > 0"),
        ({"alpha": -1.0}, "alpha is -1.0; must be finite and >= 0"),
        ({"beta": np.nan}, "beta is nan"),
    ],
)
def test_bad_options(options, message):
    options = {"alpha": 0.6, "beta": 0.4, **options}
    with pytest.raises(ValueError, match=message):
        MetaRLPrioritizedVectorReplayBuffer(60, ENVS, **options)
    with pytest.raises(ValueError, match=message):
        MetaRLPrioritizedReplayBuffer(60, **options)


def test_a_bad_beta_later():
    buffer = filled()
    with pytest.raises(ValueError, match="beta is -1"):
        buffer.set_beta(-1)
