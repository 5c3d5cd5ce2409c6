"""metarl tasks: families, their splits, and tasks drawn from them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import metarl_core
from metarl_core.cli import main
from metarl_core.tasks import (
    SeedTasks,
    Task,
    family_env_id,
    family_name,
    task_families,
    task_family,
)
from metarl_core.tasks.distributions import SPLITS


def printed(*words, capsys):
    assert main(["tasks", *words]) == 0
    return capsys.readouterr().out


def one_line_error(*words, capsys):
    assert main(["tasks", *words]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.count("\n") == 1
    return out.err.strip()


def test_every_family_is_listed_with_its_environment(capsys):
    lines = printed(capsys=capsys).split("\n\n")[0].splitlines()
    assert [line.split()[:2] for line in lines] == [[family_name(env_id), env_id] for env_id in task_families()]
    (cart_pole,) = [line for line in lines if line.startswith("CartPole-tasks")]
    assert cart_pole.endswith("force_mag 5 to 20, length 0.05 to 1, masspole 0.01 to 1")


def test_names_of_families_are_those_of_environments():
    for env_id in task_families():
        assert family_env_id(family_name(env_id)) == family_env_id(env_id) == env_id
        assert repr(task_family(family_name(env_id))) == repr(task_family(env_id)) or isinstance(
            task_family(env_id), SeedTasks
        )
    assert len({family_name(env_id) for env_id in task_families()}) == len(task_families())
    assert family_env_id("metarl_core/CartPole-v1") == "CartPole-v1"
    with pytest.raises(
        ValueError, match="unknown family 'CartPol-tasks'; did you mean 'CartPole-tasks'\\? valid: Acro"
    ):
        task_family("CartPol-tasks")


@pytest.mark.parametrize("kind", ["extrapolation", "interpolation", "random"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "PointRobot-v0", "SparsePointRobot-v0"])
def test_distances_are_those_of_the_drawn_tasks(env_id, kind):
    family = task_family(env_id, split=kind)
    for split in SPLITS:
        low, high = family.distances(split)
        tasks = family.sample_tasks(4000, split)
        place = [2 * (tasks[name] - a) / (b - a) - 1 for name, (a, b) in family.ranges.items()]
        distance = np.abs(place).max(axis=0)
        assert low - 1e-9 <= distance.min() < low + 0.05 + 0.3 * (low == 0)
        assert high - 0.02 < distance.max() <= high + 1e-9
    with pytest.raises(ValueError, match="split is 'all'; must be one of"):
        family.distances("all")


def test_seeds_of_the_parts_are_disjoint_and_hold_what_is_drawn():
    family = SeedTasks("map_seed", train=5, val=3, test=2)
    assert [family.seeds(split) for split in SPLITS] == [range(5), range(5, 8), range(8, 10)]
    for split in SPLITS:
        drawn = family.sample_tasks(len(family.seeds(split)), split)["map_seed"]
        assert sorted(drawn) == list(family.seeds(split))


def test_a_family_is_explained(capsys):
    out = printed("CartPole-tasks", capsys=capsys)
    for name in ("force_mag", "length", "masspole"):
        assert metarl_core.env_spec("CartPole-v1").parameters[name].doc in out
    family = task_family("CartPole-v1")
    outer = family.distances("train")[1]
    low, high = family.ranges["length"]
    middle, half = (low + high) / 2, (high - low) / 2
    expected = f"{middle - outer * half:.4g} to {middle + outer * half:.4g}"
    assert f"train\n      force_mag  6.174 to 18.83\n      length     {expected}\n" in out
    assert out.count("but not") == 2  # what val and test leave out
    assert "split extrapolation (test outermost)" in out
    inner = printed("CartPole-v1", "--kind", "interpolation", capsys=capsys)
    assert "split interpolation (test in the middle)" in inner
    assert f"    test\n      force_mag  {12.5 - 7.5 * 0.2 ** (1 / 3):.4g} to" in inner
    assert "but not" not in printed("CartPole-v1", "--kind", "random", capsys=capsys)
    assert "test   map_seed from 80000 to 99999" in printed("Maze-tasks", capsys=capsys)


@pytest.mark.parametrize("split", SPLITS)
def test_drawn_tasks_are_those_of_the_distribution(split, capsys):
    words = ["PointRobot-tasks", "--kind", "interpolation", "--split", split, "--k", "5", "--seed", "3"]
    lines = printed(*words, "--json", capsys=capsys).splitlines()
    tasks = [Task.from_json(line) for line in lines]
    drawn = task_family("PointRobot-v0", split="interpolation").sample_tasks(5, split, 3)
    for i, task in enumerate(tasks):
        assert task == Task(f"PointRobot-v0/{split}-{i}", "PointRobot-v0", {n: v[i] for n, v in drawn.items()})
    head, *rows = printed(*words, capsys=capsys).splitlines()
    assert head.split() == ["task", "goal_x", "goal_y"]
    shown = np.array([[float(cell) for cell in row.split()[1:]] for row in rows])
    np.testing.assert_allclose(shown, np.stack(list(drawn.values()), axis=1), rtol=1e-5)


def test_the_split_and_the_number_have_defaults(capsys):
    lines = printed("Maze-tasks", "--json", capsys=capsys).splitlines()
    assert [json.loads(line)["name"] for line in lines] == [f"Maze-v0/train-{i}" for i in range(5)]
    assert printed("Maze-tasks", "--k", "2", capsys=capsys).count("\n") == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["CartPole"],
            "metarl tasks: error: unknown family 'CartPole'; did you mean 'CartPole-tasks'? valid: Acrobot-t",
        ),
        (["--k", "3"], "metarl tasks: error: expected a FAMILY to draw tasks from; metarl tasks lists them"),
        (["--kind", "random"], "metarl tasks: error: expected a FAMILY to draw tasks from"),
        (["CartPole-tasks", "--split", "tests"], "metarl tasks: error: unknown split 'tests'; did you mean 'test'?"),
        (
            ["CartPole-tasks", "--kind", "middle"],
            "metarl tasks: error: unknown kind 'middle'; valid: extrapolation, int",
        ),
        (["CartPole-tasks", "--k", "0"], "metarl tasks: error: --k: expected an integer >= 1, got '0'"),
        (["Maze-tasks", "--kind", "interpolation"], "metarl tasks: error: split is 'interpolation'; must be None or"),
        (["Maze-tasks", "--split", "val", "--k", "20001"], "metarl tasks: error: k is 20001; must be at most 20000"),
        (["CartPole-tasks", "Maze-tasks"], "metarl tasks: error: unexpected argument 'Maze-tasks'"),
    ],
)
def test_mistakes_get_one_line(words, expected, capsys):
    assert one_line_error(*words, capsys=capsys).startswith(expected)


def test_it_needs_numpy_alone():
    script = """
import sys
for name in ("torch", "gymnasium", "matplotlib", "rich"):
    sys.modules[name] = None
from metarl_core.cli import main
sys.exit(main(["tasks"]) or main(["tasks", "Acrobot-tasks"]) or main(["tasks", "Acrobot-tasks", "--split", "test"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
