"""Our sampler in TorchRL's replay buffers, against formulas in float64 and the library's own sampler."""

import copy
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchrl")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModule
    from torchrl.data import (
        LazyMemmapStorage,
        LazyTensorStorage,
        ListStorage,
        PrioritizedSampler,
        ReplayBuffer,
        TensorDictMaxValueWriter,
        TensorDictReplayBuffer,
    )
    from torchrl.data.replay_buffers.scheduler import LinearScheduler
    from torchrl.modules import QValueActor
    from torchrl.objectives import DQNLoss

import metarl_core as mc  # noqa: E402
from metarl_core.integrations.torchrl import MetaRLPrioritizedSampler  # noqa: E402

ALPHA, EPS = 0.7, 1e-8


def rows(count, start=0):
    number = torch.arange(start, start + count)
    return TensorDict(
        {"number": number, "obs": number.float().unsqueeze(-1).expand(count, 3) / 7, "reward": number.double()}, [count]
    )


def made(capacity=64, alpha=ALPHA, beta=0.5, storage=LazyTensorStorage, batch_size=None, seed=None, **options):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return TensorDictReplayBuffer(
        storage=storage(capacity),
        sampler=MetaRLPrioritizedSampler(capacity, alpha, beta, **options),
        priority_key="td_error",
        batch_size=batch_size,
        generator=generator,
    )


def with_priorities(count=50, capacity=64, seed=0, **options):
    buffer = made(capacity, **options)
    buffer.extend(rows(count))
    priorities = torch.from_numpy(np.random.default_rng(seed).exponential(2, count))
    buffer.update_priority(torch.arange(count), priorities)
    return buffer, priorities.numpy()


@pytest.mark.parametrize("storage", [LazyTensorStorage, LazyMemmapStorage, ListStorage])
def test_samples_are_what_was_stored_also_after_the_ring_wraps(storage):
    buffer = made(20, storage=storage)
    for start in range(0, 70, 7):
        buffer.extend(rows(7, start))
    sample, info = buffer.sample(500, return_info=True)
    assert set(sample["number"].tolist()) == set(range(50, 70))
    assert torch.equal(sample["obs"], rows(70)["obs"][sample["number"]])
    assert torch.equal(sample["reward"], sample["number"].double())
    assert torch.equal(sample["number"] % 20, sample["index"])
    assert sample["priority_weight"].dtype == torch.float32
    assert torch.equal(info["priority_weight"], sample["priority_weight"])


def test_single_rows_and_a_plain_buffer():
    buffer = ReplayBuffer(storage=ListStorage(8), sampler=MetaRLPrioritizedSampler(8, 1.0, 1.0), batch_size=40)
    for number in range(3):
        buffer.add(torch.tensor(number))
    values, info = buffer.sample(return_info=True)
    assert set(values.tolist()) == {0, 1, 2}
    assert torch.equal(values, info["index"])


@pytest.mark.parametrize("stratified", [True, False])
def test_frequencies_and_weights_against_float64(stratified):
    buffer, priorities = with_priorities(stratified=stratified, seed=3)
    masses = (priorities + EPS) ** ALPHA
    p = masses / masses.sum()
    draws = 40_000
    sample = buffer.sample(draws)
    index = sample["index"].numpy()
    counts = np.bincount(index, minlength=50)
    assert len(counts) == 50
    if stratified:
        assert np.abs(counts - draws * p).max() < 2
    else:
        chi2 = ((counts - draws * p) ** 2 / (draws * p)).sum()
        assert chi2 < 49 + 5 * np.sqrt(2 * 49)  # 5 standard deviations of chi-square with 49 degrees of freedom
    w = (50 * p) ** -0.5
    np.testing.assert_allclose(sample["priority_weight"].numpy(), (w / w.max())[index], rtol=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("normalization", ["max", "batch_max", "sum", "none"])
def test_weight_normalizations(normalization, beta):
    buffer, priorities = with_priorities(beta=beta, weight_normalization=normalization)
    masses = (priorities + EPS) ** ALPHA
    sample = buffer.sample(32)
    w = (50 * masses / masses.sum()) ** -beta
    drawn = w[sample["index"].numpy()]
    divisor = {"max": w.max(), "batch_max": drawn.max(), "sum": drawn.sum(), "none": 1}[normalization]
    np.testing.assert_allclose(sample["priority_weight"].numpy(), drawn / divisor, rtol=1e-6)


@pytest.mark.parametrize("within", [False, True])
def test_priorities_and_weights_are_those_of_the_librarys_own_sampler(within):
    """The same calls to both: extend, update_tensordict_priority, priorities that come with the rows, a full ring."""
    try:
        theirs = PrioritizedSampler(16, ALPHA, 0.6, max_priority_within_buffer=within)
    except RuntimeError as error:
        pytest.skip(f"the library's compiled trees do not load with this torch: {error}")
    ours = MetaRLPrioritizedSampler(16, ALPHA, 0.6, max_priority_within_buffer=within)
    buffers = [
        TensorDictReplayBuffer(storage=LazyTensorStorage(16), sampler=sampler, priority_key="td_error")
        for sampler in (ours, theirs)
    ]
    rng = np.random.default_rng(0)
    start = 0
    for step in range(60):
        count = int(rng.integers(1, 5))
        errors = torch.from_numpy(rng.exponential(2, count)).float()
        index = torch.from_numpy(rng.permutation(min(start + count, 16))[:3])
        updates = torch.from_numpy(rng.exponential(2, len(index))).float()
        for buffer in buffers:
            data = rows(count, start)
            if step % 3 == 0:
                data["td_error"] = errors
            buffer.extend(data)
            update = buffer[index]
            update["td_error"], update["index"] = updates, index
            buffer.update_tensordict_priority(update)
        start += count
        slots = np.arange(min(start, 16))
        np.testing.assert_allclose(
            ours._tree.get(slots), np.asarray(theirs._sum_tree[torch.from_numpy(slots)]), rtol=1e-5
        )
        sample = buffers[0].sample(8)
        smallest = theirs._min_tree.query(0, len(slots))
        w = (np.asarray(theirs._sum_tree[sample["index"]]) / smallest) ** -0.6
        np.testing.assert_allclose(sample["priority_weight"].numpy(), w, rtol=1e-5)
        if not within:  # the library's is 1 again once the largest was overwritten, even if larger ones are there
            assert float(ours.default_priority) == pytest.approx(float(theirs.default_priority))


def test_new_rows_get_the_largest_priority_ever():
    buffer, priorities = with_priorities(60)
    buffer.extend(rows(10, 60))  # overwrites slots 0 ... 5
    assert buffer.sampler.priorities(torch.tensor([60, 63, 5])).tolist() == [priorities.max()] * 3


def test_new_rows_get_the_largest_priority_in_the_buffer():
    buffer = made(4, max_priority_within_buffer=True)
    buffer.extend(rows(4))
    buffer.update_priority(torch.arange(4), torch.tensor([9.0, 2.0, 1.0, 3.0]))
    buffer.add(rows(1, 4)[0])  # over the one of 9
    assert buffer.sampler.priorities(torch.arange(4)).tolist() == [3, 2, 1, 3]
    buffer.extend(rows(4, 5))  # over all
    assert buffer.sampler.priorities(torch.arange(4)).tolist() == [1, 1, 1, 1]


def test_priorities_by_the_tensordict_change_what_is_drawn():
    buffer = made(16, alpha=1.0)
    buffer.extend(rows(16))
    sample = buffer.sample(16)
    sample["td_error"] = torch.where(sample["number"] == 7, 1e6, 1e-3)
    buffer.update_tensordict_priority(sample)
    assert (buffer.sample(100)["number"] == 7).float().mean() > 0.98
    again = made(16, alpha=1.0, reduction="mean")
    again.extend(rows(16))
    sample = again.sample(4)
    sample["td_error"] = torch.tensor([[1.0, 3.0]]).expand(4, 2)
    again.update_tensordict_priority(sample)
    assert again.sampler.priorities(sample["index"]).tolist() == [2, 2, 2, 2]


def test_of_equal_indices_the_last_wins_and_minus_one_is_skipped():
    buffer = made(8)
    buffer.extend(rows(8))
    buffer.update_priority(torch.tensor([3, -1, 3]), torch.tensor([5.0, 7.0, 2.0]))
    assert buffer.sampler.priorities(torch.arange(8)).tolist() == [1, 1, 1, 2, 1, 1, 1, 1]
    assert buffer.sampler.default_priority == 5  # the largest ever given, but for the skipped one


def test_a_writer_that_keeps_the_best_rows():
    buffer = TensorDictReplayBuffer(
        storage=LazyTensorStorage(4),
        sampler=MetaRLPrioritizedSampler(4, 1.0, 1.0),
        writer=TensorDictMaxValueWriter(rank_key="reward"),
    )
    buffer.extend(rows(10)[torch.randperm(10)])
    buffer.extend(rows(5))
    assert set(buffer.sample(100)["number"].tolist()) == {6, 7, 8, 9}


def test_trajectories_in_a_storage_of_two_dimensions():
    storage = LazyTensorStorage(60, ndim=2)
    buffer = TensorDictReplayBuffer(
        storage=storage, sampler=MetaRLPrioritizedSampler(60, 1.0, 1.0), priority_key="td_error", dim_extend=0
    )
    data = TensorDict({"number": torch.arange(20).reshape(5, 4)}, [5, 4])
    buffer.extend(data)
    sample = buffer.sample(200)
    assert set(sample["number"].tolist()) == set(range(20))
    index = sample["index"]
    assert torch.equal(data["number"][index[:, 0], index[:, 1]], sample["number"])
    buffer.update_priority(torch.tensor([[0, 1], [4, 3]]), torch.tensor([1e6, 1e6]))
    assert set(buffer.sample(500)["number"].tolist()) >= {1, 19}
    assert torch.isin(buffer.sample(500)["number"], torch.tensor([1, 19])).float().mean() > 0.99
    with pytest.raises(IndexError, match=r"out of range for a storage of shape"):
        buffer.update_priority(torch.tensor([[0, 4]]), torch.tensor([1.0]))


def test_alpha_set_later_is_alpha_from_the_start():
    buffer, priorities = with_priorities(alpha=0.0)
    buffer.sampler.alpha = 0.9  # even from 0, which loses the priorities in the library's own
    masses = (priorities + EPS) ** 0.9
    np.testing.assert_allclose(buffer.sampler._tree.get(np.arange(50)), masses, rtol=1e-7, atol=masses.max() * 2**-28)
    assert buffer.sampler._tree.get(50) == 0


def test_beta_by_the_librarys_scheduler():
    buffer, _ = with_priorities(beta=0.0)
    scheduler = LinearScheduler(buffer, param_name="beta", final_value=1.0, num_steps=4)
    assert (buffer.sample(16)["priority_weight"] == 1).all()
    for _ in range(4):
        scheduler.step()
    assert buffer.sampler.beta == 1
    assert buffer.sample(16)["priority_weight"].min() < 0.9


def test_the_generator_decides_what_is_drawn():
    draws = [with_priorities()[0] for _ in range(3)]
    for buffer, seed in zip(draws, (1, 1, 2), strict=True):
        buffer.set_rng(torch.Generator().manual_seed(seed))
    draws = [buffer.sample(64)["index"] for buffer in draws]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_numpys_seed_decides_without_a_generator():
    buffer, _ = with_priorities()
    drawn = []
    for seed in (1, 1, 2):
        np.random.seed(seed)  # noqa: NPY002 - where the library's own draws from
        drawn.append(buffer.sample(64)["index"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("way", ["state_dict", "dumps"])
def test_saved_and_loaded_it_goes_on_with_the_same_batches(way, tmp_path):
    buffer, _ = with_priorities(seed=4)
    buffer.set_rng(torch.Generator().manual_seed(7))
    buffer.sample(16)
    other = made(beta=0.1)
    other.extend(rows(1))  # the library's storages need their columns first
    if way == "dumps":
        buffer.dumps(tmp_path / "replay")
        other.loads(tmp_path / "replay")
    else:
        other.load_state_dict(buffer.state_dict())
    assert other.sampler.beta == buffer.sampler.beta
    other.set_rng(torch.Generator().manual_seed(9))
    buffer.set_rng(torch.Generator().manual_seed(9))
    for _ in range(5):
        a, b = buffer.sample(32), other.sample(32)
        for name in ("index", "number", "priority_weight"):
            assert torch.equal(a[name], b[name]), name
        for each in (buffer, other):
            each.update_priority(a["index"], a["number"].double() + 1)
            each.extend(rows(3, 100))


def test_copies_and_pickles_are_the_same_sampler_and_their_own():
    buffer, priorities = with_priorities()
    sampler = buffer.sampler
    for twin in (copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):
        assert np.array_equal(twin._tree.get(np.arange(64)), sampler._tree.get(np.arange(64)))
        twin.update_priority(0, 77.0)
        assert sampler.priorities(torch.tensor([0])).item() == priorities[0]
        assert twin.default_priority == 77


def test_a_state_is_a_copy():
    buffer, _ = with_priorities()
    state = buffer.sampler.state_dict()
    before = state["priorities"].clone()
    buffer.update_priority(torch.arange(10), torch.full((10,), 3.0))
    assert torch.equal(state["priorities"], before)
    buffer.sampler.load_state_dict(state)
    state["priorities"].zero_()
    assert torch.equal(buffer.sampler.priorities(torch.arange(50)), before[:50])


def test_emptied_it_begins_again():
    buffer, _ = with_priorities()
    buffer.empty()
    with pytest.raises(RuntimeError):
        buffer.sample(4)
    buffer.extend(rows(3))
    assert set(buffer.sample(50)["number"].tolist()) == {0, 1, 2}
    assert buffer.sampler.default_priority == 1


def test_sampling_ahead_in_threads():
    buffer = TensorDictReplayBuffer(
        storage=LazyTensorStorage(64), sampler=MetaRLPrioritizedSampler(64, 0.6, 0.4), batch_size=16, prefetch=3
    )
    buffer.extend(rows(64))
    for _ in range(50):
        sample = buffer.sample()
        assert torch.equal(sample["number"], sample["index"])
        sample["td_error"] = sample["number"].double()
        buffer.update_tensordict_priority(sample)
    assert buffer.sampler.priorities(torch.arange(64)).std() > 1


def test_a_buffer_over_rows_that_are_there_already():
    storage = LazyTensorStorage(10)
    storage.set(torch.arange(10), rows(10))
    buffer = TensorDictReplayBuffer(storage=storage, sampler=MetaRLPrioritizedSampler(10, 0.6, 0.4))
    assert set(buffer.sample(200)["number"].tolist()) == set(range(10))


def q_loss(seed=0, beta=0.0):
    """One Adam step of the library's DQN loss on a batch drawn with this beta; (parameters, batch, buffer)."""
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    actor = QValueActor(network, in_keys=["observation"], action_space="categorical")
    loss_module = DQNLoss(actor, action_space="categorical", delay_value=False)
    loss_module.make_value_estimator(gamma=0.9)
    rng = np.random.default_rng(1)
    count = 40
    data = TensorDict(
        {
            "observation": torch.from_numpy(rng.normal(size=(count, 3))).float(),
            "action": torch.from_numpy(rng.integers(2, size=count)),
            "next": {
                "observation": torch.from_numpy(rng.normal(size=(count, 3))).float(),
                "reward": torch.from_numpy(rng.normal(size=(count, 1))).float(),
                "done": torch.zeros(count, 1, dtype=torch.bool),
                "terminated": torch.from_numpy(rng.random((count, 1)) < 0.2),
            },
        },
        [count],
    )
    buffer = made(count, alpha=0.9, beta=beta)
    buffer.extend(data)
    buffer.update_priority(torch.arange(count), torch.from_numpy(rng.exponential(2, count)))
    buffer.set_rng(torch.Generator().manual_seed(3))
    optimizer = torch.optim.Adam(loss_module.parameters(), 1e-2)
    batch = buffer.sample(16)
    before = copy.deepcopy(network)
    loss = loss_module(batch)["loss"]
    loss.backward()
    optimizer.step()
    parameters = torch.cat([p.detach().flatten() for p in network.parameters()])
    return parameters, loss.item(), batch, buffer, before


def test_the_librarys_dqn_uses_the_weights():
    flat, _, batch, buffer, network = q_loss(beta=0.0)
    weighted, weighted_loss, again, _, _ = q_loss(beta=1.0)
    assert torch.equal(batch["index"], again["index"])
    assert not torch.allclose(flat, weighted)
    assert torch.equal(weighted, q_loss(beta=1.0)[0])
    # The loss by hand: sum w l / sum w is the library's weighted mean.
    with torch.no_grad():
        q = network(again["observation"]).gather(1, again["action"].unsqueeze(1)).squeeze(1)
        following = network(again["next", "observation"]).max(1).values
        alive = (~again["next", "terminated"]).float().squeeze(1)
        target = again["next", "reward"].squeeze(1) + 0.9 * alive * following
    delta = (q - target).double().numpy()
    w = again["priority_weight"].double().numpy()
    squared = delta**2
    huber = np.where(np.abs(delta) < 1, 0.5 * squared, np.abs(delta) - 0.5)
    means = {kind: (w * each).sum() / w.sum() for kind, each in (("l2", squared), ("smooth_l1", huber))}
    assert any(weighted_loss == pytest.approx(mean, rel=1e-4) for mean in means.values()), (weighted_loss, means)
    # The loss has written the errors, which become priorities.
    before = buffer.sampler.priorities(batch["index"])
    buffer.update_tensordict_priority(batch)
    after = buffer.sampler.priorities(batch["index"])
    assert not torch.equal(before, after)
    last = {int(i): float(e) for i, e in zip(batch["index"], batch["td_error"].flatten(), strict=True)}
    np.testing.assert_allclose(after.numpy(), [last[int(i)] for i in batch["index"]], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha is -1.0; must be finite and >= 0"),
        ({"beta": float("nan")}, "beta is nan"),
        ({"eps": 0.0}, "eps is 0; must be > 0"),
        ({"max_capacity": 0}, "capacity"),
        ({"reduction": "sum"}, "reduction is 'sum'; must be one of 'max'"),
        ({"weight_normalization": "mean"}, "weight_normalization is 'mean'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        MetaRLPrioritizedSampler(**{"max_capacity": 8, "alpha": 0.6, "beta": 0.4, **options})


@pytest.mark.parametrize(
    ("index", "priority", "error", "message"),
    [
        ([0, 1], [1.0, float("nan")], ValueError, r"priority\[1\] is nan; must be finite and >= 0"),
        ([0, 1], [1.0, -2.0], ValueError, r"priority\[1\] is -2.0"),
        ([0, 1], [1.0, float("inf")], ValueError, r"priority\[1\] is inf"),
        ([0, 1], [1.0, 1.0, 1.0], ValueError, r"priority has shape \(3,\)"),
        ([0, 8], [1.0, 2.0], IndexError, "index 8 at position 1 out of range for size 8"),
        ([-2], [1.0], IndexError, "index -2 at position 0"),
    ],
)
def test_bad_updates_change_nothing(index, priority, error, message):
    buffer = made(16)
    buffer.extend(rows(8))
    before = buffer.sampler.state_dict()
    with pytest.raises(error, match=message):
        buffer.update_priority(torch.tensor(index), torch.tensor(priority))
    after = buffer.sampler.state_dict()
    assert all(torch.equal(before[k], v) if isinstance(v, torch.Tensor) else before[k] == v for k, v in after.items())


def test_too_large_a_priority():
    sampler = MetaRLPrioritizedSampler(4, 3.0, 0.4)
    with pytest.raises(ValueError, match=r"priority\[0\] is 1e\+200; too large for alpha=3.0"):
        sampler.update_priority(0, torch.tensor(1e200, dtype=torch.float64))


def test_nothing_stored():
    with pytest.raises(mc.BufferEmptyError):
        MetaRLPrioritizedSampler(4, 0.6, 0.4).sample(LazyTensorStorage(4), 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": -1.0}, "alpha is -1.0"),
        ({"alpha": 0.9, "largest": torch.nan}, "largest is nan"),
        ({"alpha": 0.9, "eps": 0.0}, "eps is 0"),
        ({"beta": [0.4]}, r"beta is \[0.4\]; must be a number"),
        ({"priorities": torch.zeros(3)}, r"has shape \(3,\); must be \(64,\)"),
        ({"priorities": torch.zeros(64)}, "do not belong together"),
        ({"masses": torch.full((64,), torch.nan)}, "a value that is not finite"),
        ({"masses": None}, "state_dict has no 'masses'"),
    ],
)
def test_bad_states_change_nothing(change, message):
    buffer, priorities = with_priorities()
    state = {k: v for k, v in {**buffer.sampler.state_dict(), **change}.items() if v is not None or k == "largest"}
    with pytest.raises(ValueError, match=message):
        buffer.sampler.load_state_dict(state)
    assert np.array_equal(buffer.sampler.priorities(torch.arange(50)).numpy(), priorities)
    assert buffer.sampler.alpha == ALPHA


def test_a_module_of_the_library_trains_on_it():
    """TensorDictModule in, priorities out: nothing of the batch is lost on the way."""
    buffer = made(32)
    buffer.extend(rows(32))
    module = TensorDictModule(torch.nn.Linear(3, 1), in_keys=["obs"], out_keys=["value"])
    batch = module(buffer.sample(8))
    assert {"value", "index", "priority_weight", "number"} <= set(batch.keys())
