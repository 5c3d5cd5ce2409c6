"""The metarl command: one-line errors with exit status 2, quick start, and what needs no extra."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deep_sea_runs import deep_sea_run

import metarl_core
from metarl_core.cli import main
from metarl_core.cli._arguments import UsageError, integer, unknown
from metarl_core.cli.envs import _short


def metarl(*words, capsys):
    """Run the command here; return status, stdout, stderr."""
    status = main([str(word) for word in words])
    out = capsys.readouterr()
    return status, out.out, out.err


def one_line_error(*words, capsys):
    status, out, err = metarl(*words, capsys=capsys)
    assert status == 2, (out, err)
    assert out == ""
    assert err.count("\n") == 1
    return err.strip()


def without(modules, *words, cwd):
    """Run the command in a process where some modules cannot be imported."""
    script = f"""
import sys
for name in {modules!r}:
    sys.modules[name] = None
from metarl_core.cli import main
sys.exit(main({[str(word) for word in words]!r}))
"""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=cwd, check=False)


def test_help_and_version(capsys):
    status, out, _ = metarl("--help", capsys=capsys)
    assert status == 0
    for command in ("train", "eval", "report", "envs", "info", "bench"):
        assert f"\n  {command} " in out
    assert metarl("--version", capsys=capsys)[1] == f"metarl {metarl_core.__version__}\n"
    assert metarl(capsys=capsys)[0] == 2
    for command in ("train", "eval", "report", "envs", "info"):
        status, out, _ = metarl(command, "--help", capsys=capsys)
        assert status == 0
        assert out.startswith(f"usage: metarl {command}")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trainx"], "metarl: error: unknown command 'trainx'; did you mean 'train'? valid: train, eval, report, repr"),
        (["--verbose"], "metarl: error: unknown option '--verbose'; valid: train"),
        (["train", "--sed", "3"], "metarl train: error: unknown option '--sed'; did you mean '--seed'? valid: --help"),
        (["train", "--seed", "-1"], "metarl train: error: --seed: expected an integer >= 0, got '-1'"),
        (["train", "--seed", "x"], "metarl train: error: --seed: expected an integer >= 0, got 'x'"),
        (["train", "--steps", "0"], "metarl train: error: --steps: expected an integer >= 1, got '0'"),
        (["train", "--steps"], "metarl train: error: --steps: expected one argument"),
        (["train", "--device", "gpu"], "metarl train: error: unknown device 'gpu'; valid: cpu, cuda"),
        (["eval"], "metarl eval: error: the following arguments are required: RUN"),
        (["eval", "nowhere"], "metarl eval: error: nowhere is not a run (no config.json)"),
        (["eval", "nowhere", "--episodes", "0"], "metarl eval: error: --episodes: expected an integer >= 1, got '0'"),
        (["eval", "one", "two"], "metarl eval: error: unexpected argument 'two'"),
        (["report"], "metarl report: error: expected at least one RUN"),
        (["report", "nowhere"], "metarl report: error: nowhere is not a run and holds none (no config.json)"),
        (["info", "--yaml"], "metarl info: error: unknown option '--yaml'"),
        (["bench", "env", "--jsn", "x"], "metarl bench: error: unrecognized arguments: --jsn x; valid: --help, --json"),
        (["bench"], "metarl bench: error: the following arguments are required: suite"),
        (["bench", "gpu"], "metarl bench: error: unknown benchmark 'gpu'; valid: replay, env"),
    ],
)
def test_mistakes_get_one_line(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert one_line_error(*words, capsys=capsys).startswith(expected)
    assert list(tmp_path.iterdir()) == []


def test_closest_match_ignores_case():
    error = unknown("environment", "cartpole-V1", ["DeepSea-v0", "CartPole-v1", "Acrobot-v1"])
    assert "did you mean 'CartPole-v1'?" in str(error)


def test_integers_as_people_write_them():
    assert [integer(0)(text) for text in ("5", "1_000", "2e5", "1e3")] == [5, 1000, 200_000, 1000]
    for text in ("1.5", "1e-3", "inf", "nan", "", "abc"):
        with pytest.raises(Exception, match="expected an integer >= 0"):
            integer(0)(text)


def test_info(capsys):
    status, out, _ = metarl("info", capsys=capsys)
    assert status == 0
    assert metarl_core.__version__ in out
    assert f"{metarl_core.build_info()['isa_active']} (active)" in out
    status, out, _ = metarl("info", "--json", capsys=capsys)
    assert json.loads(out)["build"] == metarl_core.build_info()


def test_the_core_commands_import_nothing_heavy_and_start_quickly():
    script = """
import sys
from metarl_core.cli import main
status = main(["info"]) or main(["envs"])
heavy = {"torch", "matplotlib", "rich", "tensorboard", "pandas", "scipy"} & set(sys.modules)
assert not heavy, heavy
sys.exit(status)
"""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    print(f"metarl info and envs: {min(seconds):.2f} s")
    assert min(seconds) < 2.0


def test_without_torch_train_and_eval_name_the_pip_command(tmp_path):
    run = deep_sea_run(tmp_path / "run", "greedy", 0, episodes=5)
    (run / "checkpoints" / "latest.ckpt").touch()
    for words in (["train", "cder"], ["eval", run]):
        done = without(["torch"], *words, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr == (
            f"metarl {words[0]}: error: this needs torch, which is not installed: pip install 'metarl-core[agents]'\n"
        )
    assert not (tmp_path / "runs").exists()


def test_without_matplotlib_report_names_the_pip_command(tmp_path):
    run = deep_sea_run(tmp_path / "run", "greedy", 0, episodes=5)
    done = without(["matplotlib"], "report", run, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("this needs matplotlib, which is not installed: pip install 'metarl-core[agents]'\n")


def test_with_numpy_alone_the_core_commands_work(tmp_path):
    gone = ["torch", "gymnasium", "matplotlib", "rich", "tensorboard"]
    for command in ("info", "envs"):
        done = without(gone, command, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


def test_report_of_a_folder_of_runs(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    for seed in range(2):
        deep_sea_run(tmp_path / "sweep" / f"run{seed}", "optimistic", seed, size=5, episodes=40)
    status, out, _ = metarl("report", tmp_path / "sweep", capsys=capsys)
    assert status == 0
    assert out == f"report: {tmp_path / 'sweep' / 'report.html'}\n"
    assert (tmp_path / "sweep" / "report.html").stat().st_size > 50_000
    status, out, _ = metarl("report", tmp_path / "sweep" / "run0", "--out", tmp_path / "one.html", capsys=capsys)
    assert (status, out) == (0, f"report: {tmp_path / 'one.html'}\n")
    assert (tmp_path / "one_files" / "learning.png").exists()
    everything = sorted(path for path in (tmp_path / "sweep").iterdir() if path.is_dir())
    assert "report_files" in [path.name for path in everything]
    assert metarl("report", *everything, "--out", tmp_path / "all.html", capsys=capsys)[0] == 0


def test_a_damaged_run_is_one_line_and_status_1(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run = deep_sea_run(tmp_path / "run", "greedy", 0, episodes=5)
    (run / "visitation.npz").write_bytes(b"damaged")
    status, _, err = metarl("report", run, capsys=capsys)
    assert status == 1
    assert err.startswith("metarl report: error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(unbuffered):
    command = [sys.executable, "-c", "import sys; from metarl_core.cli import main; sys.exit(main(['info']))"]
    read, write = os.pipe()
    os.close(read)
    environ = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False, env=environ)
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 128 + 13


def test_envs_lists_every_environment_and_explains_one(capsys):
    status, out, _ = metarl("envs", capsys=capsys)
    assert status == 0
    listed = [line.split()[0] for line in out.split("\n\n")[0].splitlines() if line[0] != " "]
    assert listed == list(metarl_core.list_envs())
    status, out, _ = metarl("envs", "DeepSea-v0", capsys=capsys)
    assert status == 0
    for name, parameter in metarl_core.env_spec("DeepSea-v0").parameters.items():
        assert name in out
        assert f"(default {_short(parameter.default)})" in out
    message = one_line_error("envs", "DeepSee-v0", capsys=capsys)
    assert "unknown environment 'DeepSee-v0'; did you mean 'DeepSea-v0'? valid: " in message


def test_cuda_that_cannot_be_used_says_why(capsys, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a usable GPU")
    monkeypatch.chdir(tmp_path)
    message = one_line_error("train", "cder", "--device", "cuda", capsys=capsys)
    assert "device cuda cannot be used: " in message
    reasons = ("built without CUDA", "no NVIDIA driver", "no CUDA device", "cannot start", "too old")
    assert any(reason in message for reason in reasons)
    assert list(Path(tmp_path).iterdir()) == []


def test_usage_errors_are_exceptions_until_main():
    with pytest.raises(UsageError):
        raise unknown("device", "tpu", ["cpu", "cuda"])
