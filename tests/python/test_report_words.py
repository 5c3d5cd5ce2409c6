"""What the report says in words: seeds that failed count, and its command makes the run again."""

from __future__ import annotations

import shlex

import pytest

from metarl_core.report._data import Run, load_tasks
from metarl_core.report._verdict import group_verdict, headline
from metarl_core.runs import RunWriter

pytest.importorskip("matplotlib")


def make(folder, outcomes, algorithm="cder"):
    """Finished runs of 400 episodes; an outcome is the episode that solved, or None."""
    made = []
    for seed, solved_at in enumerate(outcomes):
        config = {"algorithm": algorithm, "env_id": "DeepSea-v0", "env_params": {"size": 8}, "seed": seed}
        made.append(folder / f"{algorithm}-{seed}")
        with RunWriter(made[-1], config) as run:
            run.finish(
                {
                    "solved": solved_at is not None,
                    "episodes": 400,
                    "episodes_to_solve": solved_at,
                    "environment_steps": 3200,
                    "final_return": 0.0,
                    "best_return": 0.0,
                    "evaluation_return": None,
                    "wall_time_seconds": 1.0,
                }
            )
    return made


@pytest.mark.parametrize(
    ("outcomes", "sentence", "figure", "caption", "mood"),
    [
        ([70], "cder solves DeepSea-v0 (size=8) after 70 episodes.", "70 episodes", "to solve; 1 seed", "good"),
        (
            [70, 90, 80, 100],
            "cder solves DeepSea-v0 (size=8) with 4 of 4 seeds after 85 episodes (median).",
            "85 episodes",
            "to solve (median; 70 to 100); 4 of 4 seeds solved",
            "good",
        ),
        (
            [70, None, 80, 100, 110],
            "cder solves DeepSea-v0 (size=8) with 4 of 5 seeds only; median: 100 episodes, "
            "where an unsolved seed counts with all of its episodes.",
            "100 episodes",
            "to solve (median, unsolved seeds with all their episodes; those that solved: 70 to 110); "
            "4 of 5 seeds solved",
            "neutral",
        ),
        (
            [None, 70, None],
            "cder solves DeepSea-v0 (size=8) with 1 of 3 seeds only; median: more than 400 episodes, "
            "where an unsolved seed counts with all of its episodes.",
            "more than 400 episodes",
            "to solve (median, unsolved seeds with all their episodes; those that solved: 70); 1 of 3 seeds solved",
            "neutral",
        ),
        (
            [100, None],
            "cder solves DeepSea-v0 (size=8) with 1 of 2 seeds only; median: more than 250 episodes, "
            "where an unsolved seed counts with all of its episodes.",
            "more than 250 episodes",
            "to solve (median, unsolved seeds with all their episodes; those that solved: 100); 1 of 2 seeds solved",
            "neutral",
        ),
        (
            [None, None],
            "cder does not solve DeepSea-v0 (size=8) within 400 episodes.",
            "not solved",
            "within 400 episodes; 0 of 2 seeds solved",
            "bad",
        ),
    ],
)
def test_unsolved_seeds_count_with_their_whole_budget(tmp_path, outcomes, sentence, figure, caption, mood):
    (task,) = load_tasks(make(tmp_path, outcomes))
    assert headline(task) == f"{sentence} No baseline among these runs."
    assert group_verdict(task.groups[0]) == (figure, caption, mood)


@pytest.mark.parametrize(
    "overrides",
    [
        ["size=6", "num_envs=2", "stop_when_solved=true", "max_episodes=50", "total_steps=300", "log_interval=7"],
        ["size=20"],
        ["hidden=8", "max_grad_norm=1", "env_threads=none", "checkpoint_interval=9", "evaluation_episodes=0"],
        ["total_steps=123"],
    ],
)
def test_the_command_makes_a_run_from_python_again(tmp_path, overrides):
    pytest.importorskip("torch")
    from metarl_core.agents import resolve_config

    config = resolve_config("cder", "DeepSea-v0", None, [*overrides, "seed=3"])
    RunWriter(tmp_path / "run", config.to_dict()).close()
    program, train, algorithm, *words = shlex.split(Run(tmp_path / "run").command)
    assert (program, train) == ("metarl", "train")
    options = dict(zip(words[0:6:2], words[1:6:2], strict=True))
    again = resolve_config(
        algorithm,
        options["--env"],
        None,
        [f"seed={options['--seed']}", f"total_steps={options['--steps']}", *words[6:]],
    )
    assert again == config
    assert any("num_envs" in word for word in words) == ("num_envs=2" in overrides)
