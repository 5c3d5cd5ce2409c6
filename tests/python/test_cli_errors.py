"""What cannot work is one line with exit status 2, and leaves nothing behind that blocks the next try."""

from __future__ import annotations

import json

import pytest

from metarl_core import RunError
from metarl_core.cli import main
from metarl_core.runs import RunReader

pytest.importorskip("torch")

TINY = ["train", "cder", "--env", "DeepSea-v0", "--steps", "80", "size=4", "hidden=4", "signal_hidden=4", "members=2"]
TINY += ["learning_starts=32", "batch_size=8", "evaluation_episodes=1"]


def metarl(*words, capsys):
    status = main([str(word) for word in words])
    out = capsys.readouterr()
    return status, out.err


def one_line_error(*words, capsys, status=2):
    found, err = metarl(*words, capsys=capsys)
    assert found == status, err
    assert err.count("\n") == 1
    assert len(err) < 4000
    return err.strip()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = tmp_path_factory.mktemp("trained") / "run"
    assert main([*TINY, "--out", str(run)]) == 0
    return run


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of a trained run, to be damaged; without result, so that it can be resumed."""
    import shutil

    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--seed", str(2**64)], f"--seed: expected an integer <= {2**64 - 1}, got '{2**64}'"),
        ([f"seed={10**30}"], f"must be <= {2**64 - 1}"),
        (["num_envs=1000000000"], "num_envs=1000000000: must be <= "),
        (["members=1000000000000"], "members=1000000000000: must be <= "),
        (["hidden=4000000000000"], "this run cannot be set up: "),
        (["replay_capacity=1e15", "--steps", "1e15"], "this run cannot be set up: "),
        (["solve_return=1"], "solve_return=1.0: DeepSea-v0 has a solve rule of its own"),
        (["algorithm=ddqn"], "algorithm is 'cder' by the argument, but 'ddqn' by algorithm=ddqn; give one"),
        (["env_id=CartPole-v1"], "env_id is 'DeepSea-v0' by the argument, but 'CartPole-v1' by env_id=CartPole-v1"),
    ],
)
def test_settings_that_cannot_work_leave_nothing(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert expected in one_line_error("train", "cder", "--env", "DeepSea-v0", *words, capsys=capsys)
    assert list(tmp_path.iterdir()) == []


def test_the_largest_seed_trains_and_evaluates(capsys, tmp_path):
    assert metarl(*TINY, "--seed", 2**64 - 1, "--out", tmp_path / "run", capsys=capsys)[0] == 0
    assert RunReader(tmp_path / "run").config["seed"] == 2**64 - 1
    assert metarl("eval", tmp_path / "run", "--episodes", "2", capsys=capsys)[0] == 0
    message = one_line_error("eval", tmp_path / "run", "--seed", 2**64, capsys=capsys)
    assert message.startswith("metarl eval: error: --seed: expected an integer <= ")


def test_the_file_alone_chooses_what_is_trained(capsys, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"algorithm": "ddqn", "env_id": "CartPole-v1", "total_steps": 40}))
    words = ["train", "--config", tmp_path / "c.json", "evaluation_episodes=0", "--out", tmp_path / "run"]
    assert metarl(*words, capsys=capsys)[0] == 0
    result = RunReader(tmp_path / "run").result
    assert (result["algorithm"], result["environment"]) == ("ddqn", "CartPole-v1")


def test_a_failed_start_does_not_block_the_next(capsys, tmp_path, monkeypatch):
    from metarl_core.agents import training_loop

    def fail(*_):
        raise OSError("no space left on device")

    out = tmp_path / "deep" / "run"
    monkeypatch.setattr(training_loop, "make_agent", fail)
    for _ in range(2):
        assert "no space left on device" in one_line_error(*TINY, "--out", out, capsys=capsys, status=1)
        assert list(tmp_path.iterdir()) == []
    out.mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    assert "no space left" in one_line_error(*TINY, "--out", out, capsys=capsys, status=1)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    monkeypatch.undo()
    assert metarl(*TINY, "--out", out, capsys=capsys)[0] == 0


def test_a_failure_after_the_first_step_keeps_the_record(capsys, tmp_path, monkeypatch):
    from metarl_core.agents import loop

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(loop.Trainer, "log", fail)
    assert "no space left" in one_line_error(
        *TINY, "log_interval=40", "--out", tmp_path / "run", capsys=capsys, status=1
    )
    assert (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("below", [False, True])
def test_out_that_is_a_file(capsys, tmp_path, below):
    file = tmp_path / "file"
    file.write_text("mine")
    message = one_line_error(*TINY, "--out", file / "run" if below else file, capsys=capsys)
    assert f"{file} is a file; expected a folder" in message
    assert file.read_text() == "mine"


def test_a_report_into_a_folder(capsys, tmp_path, trained):
    message = one_line_error("report", trained, "--out", tmp_path, capsys=capsys)
    assert "is a folder; expected the name of an HTML file" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "config.json is not valid JSON"),
        ("{}", "config.json is not the configuration of a run (no algorithm)"),
        ("[]", "config.json holds list; expected a JSON object"),
        ("\xff", "config.json is not valid JSON"),
    ],
)
def test_a_damaged_configuration(capsys, copy, text, expected):
    (copy / "config.json").write_bytes(text.encode("latin-1"))
    for words in (["eval", copy], ["report", copy], ["train", "--resume", copy]):
        assert expected in one_line_error(*words, capsys=capsys)


def test_an_unknown_hyperparameter_in_a_stored_configuration(capsys, copy):
    config = json.loads((copy / "config.json").read_text())
    config["hyperparameters"]["kapa"] = 1
    (copy / "config.json").write_text(json.dumps(config))
    for words in (["eval", copy], ["train", "--resume", copy]):
        assert f"{copy / 'config.json'}: unknown option 'kapa'" in one_line_error(*words, capsys=capsys)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("size", "x", "size is 'x'; must be an integer >= 1"),
        ("length", 4, "has no parameter 'length'"),
    ],
)
def test_a_bad_environment_parameter_in_a_stored_configuration(capsys, copy, key, value, expected):
    config = json.loads((copy / "config.json").read_text())
    config["env_params"][key] = value
    (copy / "config.json").write_text(json.dumps(config))
    for words in (["eval", copy], ["train", "--resume", copy]):
        message = one_line_error(*words, capsys=capsys)
        assert str(copy / "config.json") in message
        assert expected in message


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("metrics.jsonl", b"{]\n", "not valid JSON"),
        ("metrics.jsonl", b"3\n", "expected a JSON object with an integer 'step' >= 0"),
        ("metrics.jsonl", b'{"step": null}\n', "expected a JSON object with an integer 'step' >= 0"),
        ("metrics.jsonl", b"\xff\n", "not UTF-8"),
        ("episodes.csv", b"1,2\n", "expected numbers for episode, step, env"),
        ("episodes.csv", b"1,x,0,1.0,4,0\n", "expected numbers for episode, step, env"),
        ("episodes.csv", b"\n", "expected numbers for episode, step, env"),
        ("episodes.csv", b"\xff\n", "not UTF-8"),
    ],
)
def test_a_damaged_line_of_a_table_is_named(capsys, copy, name, line, expected):
    path = copy / name
    number = path.read_bytes().count(b"\n") + 1
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(RunError, match=f"{name}, line {number}: "):
        getattr(RunReader(copy), "metrics" if name == "metrics.jsonl" else "episodes")
    pytest.importorskip("matplotlib")
    message = one_line_error("report", copy, capsys=capsys, status=1)
    assert f"{path}, line {number}: " in message
    assert expected in message


@pytest.mark.parametrize("name", ["result.json", "versions.json", "evaluation.json"])
def test_a_damaged_file_beside_the_configuration(capsys, copy, name):
    pytest.importorskip("matplotlib")
    (copy / name).write_text("{")
    assert f"{name} is not valid JSON" in one_line_error("report", copy, capsys=capsys, status=1)


def test_a_configuration_file_that_is_not_text(capsys, tmp_path):
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe")
    message = one_line_error("train", "--config", tmp_path / "c.toml", capsys=capsys)
    assert "c.toml: expected UTF-8 text" in message


def test_a_run_from_before_an_option_existed_is_resumed(capsys, copy):
    config = json.loads((copy / "config.json").read_text())
    del config["hyperparameters"]["evaluation"], config["solve_return"]
    (copy / "config.json").write_text(json.dumps(config))
    status, err = metarl("train", "--resume", copy, capsys=capsys)
    assert status == 0, err
    assert RunReader(copy).config["hyperparameters"]["evaluation"] == "mean"
