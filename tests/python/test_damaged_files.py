"""Every file that the Python layer reads may be damaged: a clear error or a sound value, and little memory."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from damage import damaged

from metarl_core.errors import MetarlError, RunError
from metarl_core.runs import RunReader, RunWriter, read_checkpoint, write_checkpoint
from metarl_core.tasks import Task, TaskDataset

COUNT = 150
MEMORY = 30e6


def refuse_or_read(read: Callable[[], object], allowed: tuple[type[Exception], ...], note: bytes) -> bool:
    """Whether ``read`` refuses with one of the allowed errors; any other one fails, and so does much memory."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        read()
        refused = False
    except allowed as error:
        refused = str(error) != ""
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error} for {note[:600]!r}") from error
    peak = tracemalloc.get_traced_memory()[1] - before
    assert peak < MEMORY, f"{peak / 1e6:.0f} MB for {note[:200]!r}"
    return refused


@pytest.fixture(autouse=True)
def _traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "run"
    config = {"algorithm": "ddqn", "env_id": "DeepSea-v0", "env_params": {"size": 5}, "seed": 3, "total_steps": 100}
    with RunWriter(folder, config) as writer:
        for k in range(1, 6):
            writer.metrics({"step": 10 * k, "loss": 0.5 / k, "episodes": k})
            writer.episode({"episode": k, "step": 10 * k, "env": 0, "return": 0.5, "length": 5, "bad_episode": False})
        writer.save_array("visitation", visits=np.arange(25).reshape(5, 5), steps=np.arange(3))
        writer.save_checkpoint({"weights": np.arange(6.0), "step": 50})
        result = {"solved": False, "episodes": 5, "episodes_to_solve": None, "environment_steps": 50}
        result |= {"final_return": 0.5, "best_return": 0.5, "evaluation_return": 0.5, "wall_time_seconds": 1.0}
        writer.finish(result)
    return folder


READERS: dict[str, Callable[[Path], object]] = {
    "config.json": lambda run: RunReader(run).config,
    "result.json": lambda run: RunReader(run).result,
    "versions.json": lambda run: RunReader(run).versions,
    "metrics.jsonl": lambda run: RunReader(run).metrics,
    "episodes.csv": lambda run: RunReader(run).episodes,
    "visitation.npz": lambda run: RunReader(run).visitation,
    "checkpoints/latest.ckpt": lambda run: RunReader(run).load_checkpoint(),
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_of_a_run(name: str, run: Path) -> None:
    path = run / name
    good = path.read_bytes()
    try:
        refused = 0
        for data in damaged(good, COUNT):
            path.write_bytes(data)
            refused += refuse_or_read(lambda: READERS[name](run), (MetarlError,), data)
    finally:
        path.write_bytes(good)
    print(f"{name}: {refused} of {COUNT} refused")
    assert refused > 0.02 * COUNT


def test_resuming_a_damaged_run_changes_no_file(run: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}

    path = run / "checkpoints" / "latest.ckpt"
    good = path.read_bytes()
    path.write_bytes(good[:-5])
    try:
        before = contents()
        with pytest.raises(MetarlError, match=r"latest\.ckpt"):
            RunWriter(run, resume=True)
        assert contents() == before
    finally:
        path.write_bytes(good)


def test_the_index_of_a_checkpoint_with_a_right_checksum(tmp_path: Path) -> None:
    """The checks behind the checksum: structure, names, shapes, claims."""
    import struct
    import zlib

    path = tmp_path / "c.ckpt"
    write_checkpoint(path, {"a": np.arange(6.0), "b": [1, (2.5, "x"), None], 3: {"c": np.zeros((2, 3), np.int8)}})
    good = path.read_bytes()
    tail = len(good) - struct.calcsize("<QI8s")
    nbytes, _, end = struct.unpack("<QI8s", good[tail:])
    index = good[tail - nbytes : tail]
    assert json.loads(index)
    refused = 0
    for data in damaged(index, 4 * COUNT):
        path.write_bytes(good[: tail - nbytes] + data + struct.pack("<QI8s", len(data), zlib.crc32(data), end))
        refused += refuse_or_read(lambda: read_checkpoint(path), (MetarlError,), data)
    print(f"{refused} of {4 * COUNT} refused")
    assert refused > COUNT


def test_arrays_that_unpack_to_more_than_a_gibibyte(tmp_path: Path) -> None:
    """A small file that would fill the memory is refused before anything is unpacked; so is writing such arrays."""
    config = {"algorithm": "ddqn", "env_id": "DeepSea-v0", "env_params": {}, "seed": 3}
    with RunWriter(tmp_path / "run", config) as writer:
        with pytest.raises(ValueError, match="the arrays have 1073741825 bytes; expected at most 1073741824"):
            writer.save_array("visitation", visits=np.broadcast_to(np.uint8(0), (1 << 30) + 1))
        path = tmp_path / "run" / "visitation.npz"
        assert not path.exists()
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("visits.npy", b"0" * 1000)
            file.getinfo("visits.npy").file_size = 3 << 30  # what the list of contents says
        with pytest.raises(RunError, match=r"visitation\.npz cannot be read: its arrays claim 3221225472 bytes"):
            _ = RunReader(tmp_path / "run").visitation


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    pytest.importorskip("h5py", reason="needs minari: pip install 'metarl-core[minari]'")
    pytest.importorskip("minari", reason="needs minari: pip install 'metarl-core[minari]'")
    data = TaskDataset.record("CartPole-v1", steps=60, seed=4, params={"max_episode_steps": 20})
    data.save(tmp_path / "d")
    return tmp_path / "d" / "data"


@pytest.mark.parametrize("name", ["metadata.json", "main_data.hdf5"])
def test_datasets_of_minari(name: str, dataset: Path) -> None:
    good, refused = (dataset / name).read_bytes(), 0
    for data in damaged(good, COUNT):
        (dataset / name).write_bytes(data)
        refused += refuse_or_read(lambda: TaskDataset.load(dataset), (ValueError, TypeError), data)
    print(f"{name}: {refused} of {COUNT} refused")
    assert refused > COUNT / 2
    (dataset / name).write_bytes(good)
    assert len(TaskDataset.load(dataset)) == 60


@pytest.mark.parametrize("space", ["observation_space", "action_space"])
def test_a_dataset_makes_no_environment(space: str, dataset: Path) -> None:
    """Where a space is missing Minari makes the environment that the file names: any function with any arguments."""
    canary = dataset / "canary"
    facts = json.loads((dataset / "metadata.json").read_text())
    del facts[space]
    spec = gymnasium.envs.registration.EnvSpec("Evil-v0", entry_point="os:mkdir", kwargs={"path": str(canary)})
    (dataset / "metadata.json").write_text(json.dumps(facts | {"env_spec": spec.to_json()}))
    with pytest.raises(ValueError, match=rf"metadata\.json has no {space}: .* runs code that the file names"):
        TaskDataset.load(dataset)
    assert not canary.exists()


def test_datasets_that_claim_much_or_reach_out(dataset: Path) -> None:
    import h5py

    path = dataset / "main_data.hdf5"
    good = path.read_bytes()

    def tamper(change: Callable[[h5py.Group], object], message: str) -> None:
        path.write_bytes(good)
        with h5py.File(path, "a") as file:
            del file["episode_0/rewards"]
            change(file["episode_0"])
        with pytest.raises(ValueError, match=message):
            TaskDataset.load(dataset)

    huge = {"shape": (1 << 40,), "dtype": "f8", "chunks": (1 << 16,), "compression": "gzip"}
    tamper(lambda g: g.create_dataset("rewards", **huge), "'episode_0/rewards' claims 8796093022208 bytes, of which")
    secret = dataset / "secret"
    secret.write_bytes(bytes(8 * 20))
    outside = {"shape": (20,), "dtype": "f8", "external": [(str(secret), 0, 160)]}
    tamper(lambda g: g.create_dataset("rewards", **outside), "'episode_0/rewards' lies in other files")
    layout = h5py.VirtualLayout((20,), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "x", (20,))
    tamper(lambda g: g.create_virtual_dataset("rewards", layout), "'episode_0/rewards' lies in other files")
    other = h5py.ExternalLink(str(secret), "/x")
    tamper(lambda g: g.__setitem__("rewards", other), "'episode_0/rewards' is a link to '/x'")
    tamper(lambda g: g.__setitem__("rewards", h5py.SoftLink("/episode_0")), "is a link to '/episode_0'")
    twice = "'episode_[01]/[a-z]+' has several names"
    tamper(lambda g: g.__setitem__("rewards", g["actions"]), twice)
    tamper(lambda g: g.parent.__setitem__("episode_9", g), "'episode_[09]' has several names")

    def one_number_in_a_huge_chunk(group: h5py.Group) -> None:
        options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        options.set_chunk((1 << 26,))
        options.set_deflate(9)
        options.set_deflate(9)  # each makes a thousandth of it
        space = h5py.h5s.create_simple((1,), (h5py.h5s.UNLIMITED,))
        made = h5py.h5d.create(group.id, b"rewards", h5py.h5t.NATIVE_UINT8, space, options)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones(1, np.uint8))

    tamper(one_number_in_a_huge_chunk, "'episode_0/rewards' claims 67108864 bytes")
    tamper(lambda g: None, "cannot be read as a dataset of Minari: .*rewards")


@pytest.mark.parametrize("ending", [".json", ".toml"])
def test_configuration_files(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from metarl_core.agents import ConfigError, resolve_config

    good = {
        ".json": b'{"algorithm": "ddqn", "env_id": "DeepSea-v0", "seed": 3, "size": 5, "lr": 0.001, "hidden": [8, 8]}',
        ".toml": b'algorithm = "ddqn"\nenv_id = "DeepSea-v0"\nseed = 3\nlr = 0.001\n[env_params]\nsize = 5\n',
    }[ending]
    path, refused = tmp_path / f"c{ending}", 0
    for data in damaged(good, COUNT):
        path.write_bytes(data)
        refused += refuse_or_read(lambda: resolve_config(None, None, path, []), (ConfigError,), data)
    assert refused > COUNT / 2


def test_task_json() -> None:
    good = Task("windy", "CartPole-v1", {"gravity": 9.5, "length": 0.5}, description="x").to_json().encode()
    refused = 0
    for data in damaged(good, COUNT):
        text = data.decode("utf-8", errors="replace")
        refused += refuse_or_read(lambda text=text: Task.from_json(text), (ValueError, TypeError), data)
    assert refused > COUNT / 2


def test_results_of_experiments(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from metarl_core.reproduce.store import COLUMNS, read_rows
    from metarl_core.reproduce.unseen import UNSEEN_COLUMNS, read_unseen

    path = tmp_path / "r.csv"
    for columns, read in ((COLUMNS, read_rows), (UNSEEN_COLUMNS, read_unseen)):
        lines = [",".join(columns), *(",".join(str(k + j) for j in range(len(columns))) for k in range(3))]
        refused = 0
        for data in damaged(("\n".join(lines) + "\n").encode(), COUNT):
            path.write_bytes(data)
            refused += refuse_or_read(lambda read=read: read(path), (RunError,), data)
        assert refused > COUNT / 4


def test_results_of_continual_learning(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from metarl_core.agents.continual import ContinualConfig, make_sequence, run_method
    from metarl_core.agents.continual.results import read_result, write_result

    tiny = {"hidden": (8,), "num_envs": 4, "batch_size": 16, "learning_starts": 16, "evaluations": 1}
    config = ContinualConfig(**tiny, evaluation_episodes=2)
    sequence = make_sequence("PointRobot-tasks", 2, steps=100, held_out=1)
    path = write_result(tmp_path, sequence, config, run_method(sequence, "finetune", config, seed=0))
    good, refused = path.read_bytes(), 0
    begin = good.index(b'"result"')
    for data in damaged(good[begin:], COUNT):
        path.write_bytes(good[:begin] + data)
        refused += refuse_or_read(lambda: read_result(path, sequence, config), (RunError,), data)
    assert refused > COUNT / 2
