"""Replay buffers: content, priorities, state, aliasing, determinism."""

import copy
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from metarl_core import Batch, BufferEmptyError, PrioritizedReplayBuffer, ReplayBuffer, fields_from_spaces

FIELDS = {
    "obs": ((4,), np.float32),
    "action": ((), np.int64),
    "reward": ((), np.float32),
    "next_obs": ((4,), np.float32),
    "terminated": ((), bool),
    "truncated": ((), bool),
}
BOTH = [ReplayBuffer, PrioritizedReplayBuffer]


def rows(first, n):
    k = np.arange(first, first + n)
    return {
        "obs": (k[:, None] + np.arange(4) / 8).astype(np.float32),
        "action": k * 3,
        "reward": k.astype(np.float32) / 2,
        "next_obs": (k[:, None] + 1 + np.arange(4) / 8).astype(np.float32),
        "terminated": k % 5 == 0,
        "truncated": k % 7 == 0,
    }


def check_batch(batch, expected_ids):
    """Every row of the batch is the transition that the slot should hold."""
    ids = batch["action"] // 3
    np.testing.assert_array_equal(ids, expected_ids)
    for name, column in rows(0, int(ids.max()) + 1).items():
        np.testing.assert_array_equal(batch[name], column[ids])
        assert batch[name].dtype == FIELDS[name][1]


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("capacity", [1, 2, 15, 16, 17, 100, 129])
@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_ring_keeps_the_newest(cls, capacity, chunk):
    buffer = cls(capacity, FIELDS, seed=1)
    held = np.full(capacity, -1)
    written = 0
    while written < 2 * capacity + 5:
        slots = buffer.add(**rows(written, chunk))
        np.testing.assert_array_equal(slots, np.arange(written, written + chunk) % capacity)
        for k in range(chunk):
            held[(written + k) % capacity] = written + k
        written += chunk
        assert len(buffer) == min(written, capacity)
        batch = buffer.sample(50)
        assert batch.indices.max() < len(buffer)
        check_batch(batch, held[batch.indices])


@pytest.mark.parametrize("cls", BOTH)
def test_single_and_batched_add_agree(cls):
    one, many = cls(40, FIELDS, seed=2), cls(40, FIELDS, seed=2)
    data = rows(0, 60)
    many.add(**data)
    for k in range(60):
        slot = one.add(
            obs=data["obs"][k],
            action=int(data["action"][k]),
            reward=float(data["reward"][k]),
            next_obs=list(data["next_obs"][k]),
            terminated=bool(data["terminated"][k]),
            truncated=data["truncated"][k],
        )
        assert slot == k % 40
    a, b = one.sample(32), many.sample(32)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_every_dtype_and_shape_survives():
    rng = np.random.default_rng(0)
    dtypes = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128"
    shapes = [(), (1,), (3,), (2, 5), (7, 3, 2), (300,)]
    fields = {f"{d}{i}": (shape, d) for d in dtypes.split() for i, shape in enumerate(shapes)}
    data = {
        name: rng.integers(0, 2, (20, *shape)).astype(dtype) if dtype == "bool"
        else (rng.random((20, *shape)) * 100).astype(dtype)
        for name, (shape, dtype) in fields.items()
    }  # fmt: skip
    buffer = ReplayBuffer(20, fields)
    buffer.add(**data)
    batch = buffer.sample(200)
    for name, column in data.items():
        assert batch[name].dtype == column.dtype
        np.testing.assert_array_equal(batch[name], column[batch.indices])


def test_images_use_storage_of_their_own_and_pooled_outputs():
    rng = np.random.default_rng(0)
    buffer = PrioritizedReplayBuffer(50, {"obs": ((4, 84, 84), np.uint8), "action": ((), np.int32)}, seed=0)
    frames = rng.integers(0, 256, (50, 4, 84, 84), dtype=np.uint8)
    buffer.add(obs=frames, action=np.arange(50))
    kept = []
    for _ in range(12):  # blocks of batches that died are reused, those of living ones are not
        batch = buffer.sample(32)
        np.testing.assert_array_equal(batch["obs"], frames[batch["action"]])
        assert batch["obs"].flags.c_contiguous
        assert batch["obs"].flags.writeable
        if len(kept) < 4:
            kept.append(batch)
    for batch in kept:
        np.testing.assert_array_equal(batch["obs"], frames[batch["action"]])
    part = buffer.sample(32)["obs"][3]
    copy_of_part = part.copy()
    buffer.sample(32)
    np.testing.assert_array_equal(part, copy_of_part)


@pytest.mark.parametrize("cls", BOTH)
def test_no_aliasing(cls):
    buffer = cls(30, FIELDS, seed=0)
    data = rows(0, 30)
    buffer.add(**data)
    for column in data.values():
        column[...] = 0
    batch = buffer.sample(16)
    check_batch(batch, batch.indices)
    kept = {name: array.copy() for name, array in batch.items()}
    buffer.add(**rows(100, 30))
    buffer.sample(16)
    buffer.clear()
    compared = 0
    for name, array in batch.items():
        np.testing.assert_array_equal(array, kept[name])
        compared += array.nbytes
        array[...] = 0
    buffer.add(**rows(0, 30))
    fresh = buffer.sample(16)
    check_batch(fresh, fresh.indices)
    print(f"{compared} bytes of a batch unchanged by add, sample and clear")


def test_strided_and_converted_input():
    buffer = ReplayBuffer(8, FIELDS)
    data = rows(0, 16)
    strided = {name: column[::2] for name, column in data.items()}
    strided["obs"] = np.asfortranarray(strided["obs"].astype(np.float64))
    strided["reward"] = strided["reward"].astype(np.float64)
    strided["action"] = strided["action"].astype(np.uint8)
    strided["next_obs"] = strided["next_obs"].astype(">f4")
    buffer.add(**strided)
    batch = buffer.sample(30)
    check_batch(batch, 2 * batch.indices)


def test_batch_is_a_mapping_with_attributes():
    buffer = PrioritizedReplayBuffer(10, FIELDS)
    buffer.add(**rows(0, 5))
    batch = buffer.sample(3)
    assert isinstance(batch, Batch)
    assert set(batch) == {*FIELDS, "indices", "weights", "probabilities"}
    assert batch["indices"] is batch.indices
    assert batch.indices.dtype == np.int64
    assert batch.weights.dtype == np.float32
    assert batch.probabilities.dtype == np.float64
    assert batch["obs"].shape == (3, 4)
    np.testing.assert_array_equal(batch.probabilities, 0.2)


def test_torch_view():
    torch = pytest.importorskip("torch")
    buffer = PrioritizedReplayBuffer(10, FIELDS)
    buffer.add(**rows(0, 5))
    batch = buffer.sample(3)
    tensors = batch.torch()
    assert tensors["obs"].dtype == torch.float32
    np.testing.assert_array_equal(tensors["obs"].numpy(), batch["obs"])
    assert batch.torch("cpu")["weights"].device.type == "cpu"


def test_uniform_probabilities_and_frequencies():
    buffer = ReplayBuffer(64, FIELDS, seed=3)
    buffer.add(**rows(0, 50))
    batch = buffer.sample(500_000)
    np.testing.assert_array_equal(batch.weights, 1.0)
    np.testing.assert_array_equal(batch.probabilities, 1 / 50)
    counts = np.bincount(batch.indices, minlength=50)
    assert counts.size == 50
    statistic = ((counts - 10_000) ** 2 / 10_000).sum()
    print(f"chi-square {statistic:.1f}, 49 degrees of freedom")
    assert 10 < statistic < 110


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.6, 1.0, 2.0])
def test_priorities_against_numpy(alpha):
    """alpha is applied once, new items get the running maximum of the raw priorities."""
    rng = np.random.default_rng(0)
    buffer = PrioritizedReplayBuffer(200, FIELDS, alpha=alpha, eps=1e-3, max_priority=5.0, seed=0)
    raw = np.zeros(200)
    running, written = np.float64(1.0), 0
    compared, worst = 0, 0.0
    for _ in range(40):
        slots = buffer.add(**rows(written, 17))
        written += 17
        raw[slots] = running
        n = len(buffer)
        indices = rng.integers(0, n, 30)
        errors = rng.standard_normal(30) * 10.0 ** rng.uniform(-5, 1, 30)
        buffer.update_priorities(indices, errors)
        clipped = np.clip(np.abs(errors).astype(np.float32), np.float32(1e-3), np.float32(5.0)).astype(np.float64)
        for i, p in zip(indices, clipped, strict=True):
            raw[i] = p
        running = max(running, clipped.max())
        assert buffer.running_max_priority == running
        np.testing.assert_array_equal(buffer.priorities(), raw[:n])
        np.testing.assert_array_equal(buffer.priorities([0, n - 1]), raw[[0, n - 1]])
        compared += n
        batch = buffer.sample(64)
        powers = raw[:n] ** alpha
        np.testing.assert_allclose(
            batch.probabilities * powers.sum(), powers[batch.indices], atol=2.0**-26 * powers.max()
        )
        worst = max(worst, np.abs(batch.probabilities * powers.sum() - powers[batch.indices]).max() / powers.max())
    print(f"alpha {alpha}: {compared} priorities equal; powers within {worst:.1e} of the largest")


def prioritized(n=400, seed=0, **options):
    buffer = PrioritizedReplayBuffer(n, FIELDS, seed=seed, **options)
    buffer.add(**rows(0, n))
    buffer.update_priorities(np.arange(n), np.random.default_rng(seed).standard_normal(n))
    return buffer


def frequencies_match(buffer, draws=1_000_000):
    counts = np.zeros(buffer.capacity)
    for _ in range(10):
        counts += np.bincount(buffer.sample(draws // 10).indices, minlength=buffer.capacity)
    powers = np.zeros(buffer.capacity)
    powers[: len(buffer)] = buffer.priorities() ** buffer.alpha
    expected = draws * powers / powers.sum()
    live = expected > 0
    assert (counts[~live] == 0).all()
    statistic = ((counts - expected)[live] ** 2 / expected[live]).sum()
    df = live.sum() - 1
    print(f"chi-square {statistic:.1f}, {df} degrees of freedom")
    return abs(statistic - df) < 6 * np.sqrt(2 * df)


def test_frequencies_after_wrap_overwrite_and_load():
    buffer = prioritized(stratified=False)
    assert frequencies_match(buffer)
    buffer.add(**rows(400, 130))
    assert frequencies_match(buffer)
    again = PrioritizedReplayBuffer(400, FIELDS, stratified=False)
    again.load_state_dict(buffer.state_dict())
    assert frequencies_match(again)


def test_stratified_counts_are_within_two():
    buffer = prioritized()
    powers = buffer.priorities() ** buffer.alpha
    for batch_size in (32, 256, 5000):
        counts = np.bincount(buffer.sample(batch_size).indices, minlength=400)
        assert (np.abs(counts - batch_size * powers / powers.sum()) < 2).all()


def test_zero_eps_and_all_zero_priorities_sample_uniformly():
    buffer = prioritized(n=50, eps=0.0)
    buffer.update_priorities(np.arange(50), np.zeros(50))
    batch = buffer.sample(5000)
    np.testing.assert_array_equal(batch.probabilities, 1 / 50)
    np.testing.assert_array_equal(batch.weights, 1.0)
    np.testing.assert_array_equal(np.bincount(batch.indices), 100)
    buffer.update_priorities([7], [-2.0])
    np.testing.assert_array_equal(buffer.sample(10).indices, 7)


def test_all_zero_priorities_never_draw_what_is_hidden():
    fields = {"t": ((), np.int64)}
    buffer = PrioritizedReplayBuffer(60, fields, eps=0.0, stratified=False, task_field="t", seed=0)
    buffer.add(t=np.arange(50) % 5)
    buffer.update_priorities(np.arange(50), np.zeros(50))
    assert buffer.clear_task(2) == 10
    for mode in ("stratified", "iid", "uniform", "without_replacement"):
        batch = buffer.sample(40, mode=mode)
        assert (batch["t"] != 2).all()
        np.testing.assert_array_equal(batch.probabilities, 1 / 40)
        np.testing.assert_array_equal(batch.weights, 1.0)
    counts = np.bincount(buffer.sample(400_000).indices, minlength=50)
    assert (counts[np.arange(50) % 5 == 2] == 0).all()
    statistic = ((counts - 10_000) ** 2 / 10_000)[np.arange(50) % 5 != 2].sum()
    print(f"chi-square {statistic:.1f}, 39 degrees of freedom")
    assert statistic < 39 + 6 * np.sqrt(2 * 39)
    for task in (0, 1, 3, 4):
        buffer.clear_task(task)
    with pytest.raises(BufferEmptyError):
        buffer.sample(1)


def test_clear_forgets_everything_but_the_stream():
    buffer = prioritized(n=50)
    buffer.update_priorities([3], [100.0])
    buffer.clear()
    assert len(buffer) == 0
    assert buffer.running_max_priority == 1.0
    buffer.add(**rows(0, 5))
    np.testing.assert_array_equal(buffer.priorities(), 1.0)
    assert set(buffer.sample(100).indices) == set(range(5))


@pytest.mark.parametrize("cls", BOTH)
def test_state_dict_continues_bit_for_bit(cls):
    def drive(buffer, first):
        digest = hashlib.sha256()
        rng = np.random.default_rng(first)
        for k in range(20):
            buffer.add(**rows(first + 11 * k, 11))
            batch = buffer.sample(37)
            for name in sorted(batch):
                digest.update(batch[name].tobytes())
            if cls is PrioritizedReplayBuffer:
                buffer.update_priorities(batch, rng.standard_normal(37) * 10.0 ** rng.uniform(-3, 3))
        return digest.hexdigest()

    buffer = cls(150, FIELDS, seed=8)
    drive(buffer, 0)
    state = buffer.state_dict()
    frozen = pickle.dumps(state)
    clones = [cls(150, FIELDS, seed=8), copy.deepcopy(buffer), pickle.loads(pickle.dumps(buffer))]
    clones[0].load_state_dict(pickle.loads(frozen))
    expected = drive(buffer, 500)
    for clone in clones:
        assert drive(clone, 500) == expected
    assert pickle.dumps(state) == frozen
    other = cls(150, FIELDS, seed=9)
    assert drive(other, 0) != drive(cls(150, FIELDS, seed=8), 0)


GOLDEN = """
import hashlib, numpy as np
from metarl_core import PrioritizedReplayBuffer, ReplayBuffer, SumTree, build_info, importance_weights
digest = hashlib.sha256()
rng = np.random.RandomState(0)
tree = SumTree(10_007, seed=2**40 + 3)
for k in range(30):
    tree.set(rng.randint(0, 10_007, 900), rng.random_sample(900) * 10.0 ** rng.randint(-4, 4))
    for stratified in (True, False):
        for array in tree.sample(333, stratified):
            digest.update(array.tobytes())
    digest.update(np.array([tree.total, tree.min, tree.max]).tobytes())
for normalization in ("max", "batch_max", "sum", "none"):
    p = rng.random_sample(1001)
    for dtype in ("float64", "float32"):
        digest.update(importance_weights(p, 1001, 0.37, normalization, dtype=dtype).tobytes())
    buffer = PrioritizedReplayBuffer(700, {"x": ((3,), np.float64)}, weight_normalization=normalization, seed=5)
    for k in range(20):
        buffer.add(x=rng.random_sample((61, 3)))
        batch = buffer.sample(129, beta=k / 20)
        for name in sorted(batch):
            digest.update(batch[name].tobytes())
        buffer.update_priorities(batch, rng.random_sample(129) * 10.0 ** rng.randint(-6, 6))
uniform = ReplayBuffer(700, {"x": ((3,), np.float64)}, seed=5)
uniform.add(x=rng.random_sample((800, 3)))
digest.update(uniform.sample(501)["x"].tobytes())
print(build_info()["isa_active"], digest.hexdigest())
"""


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_same_bits_at_every_instruction_set_level(level):
    result = subprocess.run(
        [sys.executable, "-c", GOLDEN], env={**os.environ, "METARL_ISA": level}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    active, digest = result.stdout.split()
    if active != level:
        pytest.skip(f"this processor has no {level}")
    assert digest == GOLDEN_HASH


QEMU = os.environ.get("METARL_QEMU") or shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")


@pytest.mark.skipif(QEMU is None, reason="needs qemu-user, or its path in METARL_QEMU")
@pytest.mark.parametrize(("processor", "level"), [("Nehalem", "baseline"), ("Haswell", "avx2")])
def test_same_bits_on_an_old_processor(processor, level):
    """Emulated: an instruction that it does not have ends the process."""
    command = [QEMU, "-cpu", processor, "-0", sys.executable, os.path.realpath(sys.executable), "-c", GOLDEN]
    env = {name: value for name, value in os.environ.items() if name != "METARL_ISA"}
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [level, GOLDEN_HASH]


GOLDEN_HASH = "3b3a715c2fbac6785dca68b53ae05fbfe31f7101d49ea4ab4fcbeb3e16926e13"


def test_fields_from_spaces():
    spaces = pytest.importorskip("gymnasium").spaces
    fields = fields_from_spaces(spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(4))
    assert fields == {
        "obs": ((3,), np.float32),
        "action": ((), np.int64),
        "reward": ((), np.float32),
        "next_obs": ((3,), np.float32),
        "terminated": ((), np.bool_),
        "truncated": ((), np.bool_),
    }
    buffer = PrioritizedReplayBuffer(4, fields)
    buffer.add(
        obs=np.zeros(3, np.float32), action=np.int64(2), reward=np.float64(0.5), next_obs=np.zeros(3),
        terminated=np.bool_(True), truncated=False,
    )  # fmt: skip
    batch = buffer.sample(1)
    assert batch["terminated"][0]
    assert batch["action"][0] == 2
    with pytest.raises(TypeError, match="observation_space"):
        fields_from_spaces(spaces.Dict({"a": spaces.Text(5)}), spaces.Discrete(2))


def test_memory_of_small_transitions():
    buffer = PrioritizedReplayBuffer(1000, FIELDS)
    print(f"{buffer.bytes_per_transition} bytes a transition")
    assert buffer.bytes_per_transition <= 64
    assert buffer.fields == {name: (shape, np.dtype(dtype)) for name, (shape, dtype) in FIELDS.items()}


def test_threads_hammering_one_buffer():
    buffer = PrioritizedReplayBuffer(5000, FIELDS, seed=0)
    buffer.add(**rows(0, 100))
    errors = []

    def work(k):
        rng = np.random.default_rng(k)
        try:
            for step in range(150):
                buffer.add(**rows(1000 * k + step, 64 if step % 2 else 1000))
                batch = buffer.sample(256)
                ids = batch["action"] // 3
                np.testing.assert_array_equal(batch["obs"][:, 0], ids.astype(np.float32))
                np.testing.assert_array_equal(batch["reward"], (ids / 2).astype(np.float32))
                buffer.update_priorities(batch, rng.standard_normal(256))
                if step % 50 == 0:
                    buffer.state_dict()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(buffer) == 5000


def test_scalars_of_every_dtype_are_stored_exactly():
    dtypes = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "F", "D"]
    fields = {f"c{k}": ((), np.dtype(code)) for k, code in enumerate([*dtypes, "f", "q"])}  # more than 16 columns
    values = {name: np.dtype(dtype).type(k % 2 + k) for k, (name, (_, dtype)) in enumerate(fields.items())}
    buffer = ReplayBuffer(4, fields)
    assert buffer.add(**values) == 0
    assert buffer.add(**dict(reversed(values.items()))) == 1  # in another order
    assert list(buffer.add(**{name: np.array([value, value]) for name, value in values.items()})) == [2, 3]
    batch = buffer.sample(32)
    for name, value in values.items():
        assert batch[name].dtype == fields[name][1]
        assert (batch[name] == value).all(), name


def test_a_name_given_twice_does_not_stand_for_another_field():
    class Name(str):
        __slots__ = ()

        def __hash__(self):
            return 1

        def __eq__(self, other):
            return self is other

    buffer = ReplayBuffer(4, {"a": ((), np.float32), "b": ((), np.float32)})
    with pytest.raises(KeyError, match="missing field 'b'"):
        buffer.add(**{"a": 1.0, Name("a"): 2.0})
    assert len(buffer) == 0
