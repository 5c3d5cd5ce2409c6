"""Batches of a replay buffer through PyTorch's DataLoader."""

import copy
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

import metarl_core as mc  # noqa: E402
from metarl_core.integrations.torch_data import ReplayDataset, TensorBatch, replay_loader  # noqa: E402

FIELDS = {
    "obs": {"image": ((2, 2), np.uint8), "goal": ((3,), np.float32)},
    "number": ((), np.int64),
    "pair": (((), np.float64), ((2,), np.bool_)),
}


def rows(count, start=0):
    number = np.arange(start, start + count)
    image = np.broadcast_to(number[:, None, None], (count, 2, 2)).astype(np.uint8)
    goal = np.stack([number, number + 1, number + 2], 1).astype(np.float32)
    return {
        "obs": {"image": image, "goal": goal},
        "number": number,
        "pair": (number / 3, np.stack([number % 2 == 0] * 2, 1)),
    }


def filled(cls=mc.PrioritizedReplayBuffer, count=40, seed=0, **options):
    buffer = cls(64, FIELDS, seed=seed, **options)
    buffer.add(**rows(count))
    return buffer


@pytest.mark.parametrize("cls", [mc.PrioritizedReplayBuffer, mc.ReplayBuffer])
def test_batches_are_those_of_the_buffer(cls):
    buffer = filled(cls)
    twin = copy.deepcopy(buffer)
    loader = DataLoader(ReplayDataset(buffer, 16, 5), batch_size=None)
    assert len(loader) == 5
    count = 0
    for batch in loader:
        wanted = twin.sample(16)
        assert isinstance(batch, TensorBatch)
        assert batch.keys() == wanted.keys() | {"sampled_at"}
        assert torch.equal(batch["number"], torch.from_numpy(wanted["number"]))
        assert batch["obs"]["image"].dtype == torch.uint8
        assert torch.equal(batch["obs"]["image"][:, 0, 0].long(), batch["number"])
        assert torch.equal(batch["obs"]["goal"][:, 2], batch["number"].float() + 2)
        assert torch.equal(batch["pair"][0], batch["number"] / torch.tensor(3, dtype=torch.float64))
        assert torch.equal(batch["pair"][1][:, 0], batch["number"] % 2 == 0)
        for name in ("indices", "weights", "probabilities"):
            assert torch.equal(batch[name], torch.from_numpy(wanted[name]))
        count += 1
    assert count == 5


def test_the_buffers_seed_decides():
    def drawn(seed, torch_seed):
        torch.manual_seed(torch_seed)
        return torch.cat([batch["indices"] for batch in replay_loader(filled(seed=seed), 16, 4)])

    assert torch.equal(drawn(1, 0), drawn(1, 5))
    assert not torch.equal(drawn(1, 0), drawn(2, 0))


def test_without_an_end_new_rows_and_priorities_count_at_once():
    buffer = filled(count=10)
    loader = replay_loader(buffer, 64)
    batches = iter(loader)
    assert next(batches)["number"].max() < 10
    buffer.add(**rows(10, 10))
    batch = next(batches)
    assert batch["number"].max() >= 10
    loader.dataset.update_priorities(batch, torch.where(batch["number"] == 15, 1e6, 1e-6))
    assert (next(batches)["number"] == 15).float().mean() > 0.5
    assert len(list(itertools.islice(loader, 7))) == 7
    with pytest.raises(TypeError, match="num_batches is None"):
        len(loader)


def test_slots_that_were_overwritten_since_are_left_out():
    buffer = filled(count=64)
    dataset = ReplayDataset(buffer, 8)
    batch = next(iter(dataset))
    buffer.add(**rows(64, 64))
    before = buffer.priorities()
    dataset.update_priorities(batch, torch.full((8,), 9.0))
    assert np.array_equal(buffer.priorities(), before)
    assert buffer.stale_updates == 8
    with pytest.raises(mc.StaleIndexError):
        dataset.update_priorities(batch, torch.full((8,), 9.0), strict=True)


def rebuilt(batch):
    """As Accelerate's send_to_device does it, and Lightning's apply_to_collection."""
    return type(batch)({name: moved(value) for name, value in batch.items()})


def moved(value):
    if isinstance(value, dict):
        return rebuilt(value)
    if isinstance(value, tuple | list):
        return type(value)(moved(part) for part in value)
    return value.to("cpu", copy=True)


def as_older_torch_pins(batch):
    """A plain dict, where the mapping's own type cannot be made; memory is not pinned without a GPU."""
    return {name: moved(value) for name, value in batch.items()}


@pytest.mark.parametrize("remade", [rebuilt, as_older_torch_pins, copy.copy])
def test_mappings_that_a_framework_made_of_a_batch(remade):
    buffer = filled(count=64)
    dataset = ReplayDataset(buffer, 16)
    loader = iter(DataLoader(dataset, batch_size=None))
    batch = remade(next(loader))
    dataset.update_priorities(batch, torch.arange(16.0) + 3)
    last = {int(slot): i + 3.0 for i, slot in enumerate(batch["indices"])}
    assert {slot: buffer.priorities()[slot] for slot in last} == pytest.approx(last)
    part = {name: value[4:8] for name, value in remade(next(loader)).items() if name in ("indices", "sampled_at")}
    dataset.update_priorities(part, torch.full((4,), 50.0))
    assert (buffer.priorities(part["indices"].numpy()) == 50).all()
    batch = remade(next(loader))
    buffer.add(**rows(64, 64))
    before = buffer.priorities()
    dataset.update_priorities(batch, torch.full((16,), 9.0))
    assert np.array_equal(buffer.priorities(), before)
    with pytest.raises(mc.StaleIndexError):
        dataset.update_priorities(batch, torch.full((16,), 9.0), strict=True)


def test_mappings_of_sequences():
    fields = {"obs": ((2,), np.float32), "terminated": ((), np.bool_)}
    buffer, twin = (mc.PrioritizedReplayBuffer(64, fields, sequence_length=4, burn_in=1) for _ in range(2))
    for i in range(40):
        for each in (buffer, twin):
            each.add(obs=np.full(2, i, np.float32), terminated=i % 7 == 6)
    dataset = ReplayDataset(buffer, 8)
    batch = rebuilt(next(iter(dataset)))
    errors = torch.rand(8, 4, generator=torch.Generator().manual_seed(0))
    dataset.update_priorities(batch, errors)
    twin.update_priorities(twin.sample(8), errors.numpy())
    assert np.array_equal(buffer.priorities(), twin.priorities())
    assert np.ptp(buffer.priorities()) > 0


def test_errors_of_bfloat16():
    buffer, twin = filled(), filled()
    dataset = ReplayDataset(buffer, 8)
    errors = torch.linspace(0.1, 3, 8, dtype=torch.bfloat16)
    dataset.update_priorities(next(iter(dataset)), errors.requires_grad_())
    twin.update_priorities(twin.sample(8), errors.detach().float().numpy())
    assert np.array_equal(buffer.priorities(), twin.priorities())


def test_batches_that_lack_what_the_priorities_need():
    buffer = filled(count=64)
    dataset = ReplayDataset(buffer, 4)
    batches = iter(dataset)
    first, second = dict(next(batches)), dict(next(batches))
    before = buffer.priorities()
    for name in ("sampled_at", "indices"):
        with pytest.raises(ValueError, match=f"batch has no column '{name}'; pass on all columns"):
            dataset.update_priorities({key: value for key, value in first.items() if key != name}, torch.ones(4))
    buffer.add(**rows(1))  # or both would be of one state
    third = dict(next(batches))
    joined = {name: torch.cat([second[name], third[name]]) for name in ("indices", "sampled_at")}
    with pytest.raises(ValueError, match="rows of one batch"):
        dataset.update_priorities(joined, torch.ones(8))
    assert np.array_equal(buffer.priorities()[1:], before[1:])
    with pytest.raises(ValueError, match="a field 'sampled_at'"):
        ReplayDataset(mc.ReplayBuffer(4, {"sampled_at": ((), np.int64)}), 2)


def test_options_reach_the_buffer():
    buffer = filled()
    buffer.update_priorities(np.arange(40), np.linspace(0.1, 5, 40))
    loader = replay_loader(buffer, 32, 1, beta=0.0)
    assert (next(iter(loader))["weights"] == 1).all()
    (batch,) = replay_loader(buffer, 32, 1, beta=1.0)
    assert batch["weights"].min() < 0.9
    (batch,) = replay_loader(buffer, 32, 1, mode="uniform")
    assert torch.allclose(batch["probabilities"], torch.tensor(1 / 40, dtype=torch.float64))


def q_update(beta):
    """One step of Q-learning with weights from the loader; the parameters."""
    torch.manual_seed(0)
    fields = {"obs": ((4,), np.float32), "action": ((), np.int64), "reward": ((), np.float32)}
    fields |= {"next_obs": ((4,), np.float32), "terminated": ((), np.bool_)}
    buffer = mc.PrioritizedReplayBuffer(64, fields, alpha=0.9, seed=3)
    rng = np.random.default_rng(0)
    buffer.add(
        obs=rng.normal(size=(50, 4)),
        action=rng.integers(2, size=50),
        reward=rng.normal(size=50),
        next_obs=rng.normal(size=(50, 4)),
        terminated=rng.random(50) < 0.2,
    )
    buffer.update_priorities(np.arange(50), rng.exponential(2, 50))
    net = torch.nn.Linear(4, 2)
    loader = replay_loader(buffer, 16, 1, beta=beta)
    (batch,) = loader
    with torch.no_grad():
        target = batch["reward"] + 0.9 * (~batch["terminated"]).float() * net(batch["next_obs"]).max(1).values
    delta = target - net(batch["obs"]).gather(1, batch["action"][:, None])[:, 0]
    (batch["weights"] * delta**2).mean().backward()
    torch.optim.SGD(net.parameters(), 0.1).step()
    loader.dataset.update_priorities(batch, delta)
    last = dict(zip(batch["indices"].tolist(), delta.abs().tolist(), strict=True))
    np.testing.assert_allclose(buffer.priorities(list(last)), list(last.values()), rtol=1e-6)
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_the_weights_matter():
    assert torch.equal(q_update(1.0), q_update(1.0))
    assert not torch.allclose(q_update(0.0), q_update(1.0))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_are_refused(context):
    loader = DataLoader(
        ReplayDataset(filled(), 8, 3), batch_size=None, num_workers=2, multiprocessing_context=context, timeout=60
    )
    batches = iter(loader)
    for _ in range(2):  # each worker's: one that is still starting when the other's end the loop dies in a later test
        with pytest.raises(RuntimeError, match=r"num_workers=2: a worker process draws from a copy of the buffer"):
            next(batches)
    batches._shutdown_workers()


def test_nothing_stored():
    with pytest.raises(mc.BufferEmptyError):
        next(iter(replay_loader(mc.ReplayBuffer(8, FIELDS), 4)))


def test_bad_arguments():
    buffer = filled()
    with pytest.raises(TypeError, match="buffer must be a ReplayBuffer or PrioritizedReplayBuffer, got list"):
        ReplayDataset([], 4)
    with pytest.raises(ValueError, match="batch_size is 0; must be >= 1"):
        ReplayDataset(buffer, 0)
    with pytest.raises(ValueError, match="num_batches is 0; must be >= 1"):
        ReplayDataset(buffer, 4, 0)
    with pytest.raises(TypeError, match="unknown option 'shuffle'; known are beta, mode"):
        ReplayDataset(buffer, 4, shuffle=True)
    dataset = ReplayDataset(buffer, 4)
    batch = next(iter(dataset))
    with pytest.raises(ValueError, match=r"is nan; must be finite"):
        dataset.update_priorities(batch, torch.full((4,), torch.nan))
