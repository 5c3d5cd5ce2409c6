"""A tiny experiment, and rows that nobody trained."""

from metarl_core.reproduce import COLUMNS
from metarl_core.runs._tables import csv_line

OPTIONS = "hidden = 8, batch_size = 16, learning_starts = 32, evaluation_episodes = 1, epochs = 1"

TINY = f"""
title = "Tiny"
plots = ["scaling", "curves", "bars", "profile"]
baseline = "ddqn"
seeds = "0-1"
tuning_seeds = [7]

[methods.ddqn]
label = "Double DQN"

[methods.rnd]
options = {{ curiosity_hidden = 8 }}

[methods.bad]
algorithm = "ddqn"
label = "diverges"
options = {{ optimizer = "sgd", lr = 1e30 }}

[[cells]]
environment = "DeepSea-v0"
methods = ["ddqn", "rnd"]
params = {{ size = [3, 4] }}
options = {{ max_episodes = 40, {OPTIONS} }}

[[cells]]
environment = "DeepSea-v0"
methods = ["bad"]
params = {{ size = 3 }}
seeds = 0
options = {{ max_episodes = 40, {OPTIONS} }}
"""

CLOCK = ("wall_time_seconds", "steps_per_second")


def write_spec(folder, text=TINY, name="tiny"):
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def made_up_row(cell, episodes_to_solve=None, **values):
    """A row of a cell as if it had been trained."""
    config = cell.config
    row = dict.fromkeys(COLUMNS, "")
    row |= {
        "method": cell.method.name,
        "algorithm": cell.method.algorithm,
        "environment": cell.environment,
        "params": cell.params_text,
        "seed": cell.seed,
        "config": cell.digest,
        "solved": int(episodes_to_solve is not None),
        "episodes_to_solve": episodes_to_solve or "",
        "episodes": config.max_episodes,
        "max_episodes": config.max_episodes,
        "total_steps": config.total_steps,
        "environment_steps": config.total_steps,
        "curve": " ".join(["0.5"] * 39 + ["-"]),
        "wall_time_seconds": 2.0 + cell.seed,
        "final_return": 0.25,
    }
    return row | values


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(csv_line(COLUMNS) + "".join(csv_line([row[name] for name in COLUMNS]) for row in rows))
