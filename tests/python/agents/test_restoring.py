"""A checkpoint whose checksums are right and whose contents are another run's."""

import shutil

import pytest

from metarl_core.agents.evaluate import evaluate
from metarl_core.agents.meta.sub_agents import SubAgent
from metarl_core.cli import main
from metarl_core.errors import CheckpointMismatchError
from metarl_core.runs import RunReader, read_checkpoint, write_checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restoring") / "run"
    words = ["--seed", "3", "--steps", "400", "--out", str(folder), "hidden=8", "learning_starts=50", "batch_size=8"]
    assert main(["train", "ddqn", "--env", "DeepSea-v0", "size=4", "evaluation_episodes=0", *words]) == 0
    return folder


def without_agent(state):
    del state["agent"]


def of_other_networks(state):
    modules = state["agent"]["modules"]
    for name, tensors in modules.items():
        modules[name] = {key: tensor[..., :1] for key, tensor in tensors.items()}


def no_mapping(state):
    state["agent"] = 3


@pytest.mark.parametrize("change", [without_agent, of_other_networks, no_mapping])
def test_everybody_who_reads_it_names_the_run(run, change, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    path = copy / "checkpoints" / "latest.ckpt"
    contents = read_checkpoint(path)
    change(contents["state"])
    write_checkpoint(path, contents)
    before = path.read_bytes()
    expected = r"run: its checkpoint does not hold what a run with its configuration does \(\w+: "
    with pytest.raises(CheckpointMismatchError, match=expected):
        evaluate(copy, episodes=1)
    with pytest.raises(CheckpointMismatchError, match=expected):
        SubAgent.from_run(copy)
    (copy / "result.json").unlink()
    capsys.readouterr()
    assert main(["train", "--resume", str(copy)]) == 1
    assert f"{copy}: its checkpoint does not hold" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert RunReader(copy).result is None
