"""Real little runs for the tests of the report: tabular agents learn a NumPy DeepSea, written through RunWriter."""

from __future__ import annotations

import numpy as np

from metarl_core.runs import RunWriter


def deep_sea_run(run_dir, algorithm, seed, size=8, episodes=400, finish=True, **hyperparameters):
    """Train a tabular Q-learner: ``optimistic`` (starts at the highest return) or ``greedy`` (starts at zero)."""
    config = {
        "algorithm": algorithm,
        "env_id": "DeepSea-v0",
        "env_params": {"size": size},
        "seed": seed,
        "total_steps": size * episodes,
        "device": "cpu",
        "hyperparameters": {"lr": 0.5, **hyperparameters},
    }
    rng = np.random.default_rng(seed)
    right = rng.integers(2, size=(size, size))
    q = np.full((size, size + 1, 2), 1.0 if algorithm == "optimistic" else 0.0)
    visits = np.zeros((size, size), np.int64)
    snapshots, steps, bad_total, solved_at, returns, errors = [], [], 0, None, [], []
    with RunWriter(run_dir, config) as run:
        for episode in range(1, episodes + 1):
            column, total, bad = 0, 0.0, False
            for row in range(size):
                visits[row, column] += 1
                values = q[row, column] + 1e-6 * rng.random(2)
                action = rng.integers(2) if rng.random() < 0.02 else int(values.argmax())
                goes_right = action == right[row, column]
                reward = -0.01 / size if goes_right else 0.0
                if row == size - 1 and column == size - 1 and goes_right:
                    reward += 1.0
                bad |= row == column and not goes_right
                following = min(column + 1, size) if goes_right else max(column - 1, 0)
                future = 0.0 if row == size - 1 else q[row + 1, min(following, size - 1)].max()
                error = reward + future - q[row, column, action]
                errors.append(abs(error))
                q[row, column, action] += 0.5 * error
                total += reward
                column = min(following, size - 1)
            bad_total += bad
            returns.append(total)
            if solved_at is None and bad_total / episode < 0.9:
                solved_at = episode
            step = episode * size
            run.episode(
                {"episode": episode, "step": step, "env": 0, "return": total, "length": size, "bad_episode": bad}
            )
            if episode % 20 == 0:
                row = {
                    "step": step,
                    "episodes": episode,
                    "return_mean": np.mean(returns[-20:]),
                    "loss": np.mean(np.square(errors[-200:])),
                    "td_error_mean": np.mean(errors[-200:]),
                }
                if algorithm == "optimistic":
                    row["intrinsic_reward_mean"] = np.mean(1 / np.sqrt(1 + visits))
                    row["epistemic_std"] = np.mean(1 / np.sqrt(1 + visits))
                    row["aleatoric_std"] = np.std(returns[-20:])
                run.metrics(row)
                snapshots.append(visits.copy())
                steps.append(step)
        if not finish:
            return run_dir
        run.save_array("visitation", visits=visits, visits_at=np.array(snapshots), steps=np.array(steps))
        counts, edges = np.histogram(np.maximum(errors, 1e-6), np.geomspace(1e-6, 2.0, 31))
        run.save_array("priorities", counts=counts, edges=edges)
        run.finish(
            {
                "solved": solved_at is not None,
                "episodes": episodes,
                "episodes_to_solve": solved_at,
                "environment_steps": size * episodes,
                "final_return": float(np.mean(returns[-100:])),
                "best_return": max(returns),
                "evaluation_return": None,
                "wall_time_seconds": 1.5,
            }
        )
    return run_dir
