"""What each round of IMT is worth on tasks that it never saw: why validation may keep an early one.

    python experiments/imt_rounds.py --split extrapolation --seed 100 [--tune-first] [key=value ...]

After every round: mean return of greedy episodes on six validation tasks by four aggregations, and on the twelve
training tasks by each one's own submodel; the TD error of step 2; how far the trunks are from the common one.
``--tune-first`` fits the last layers to the common trunk before step 2, in place of each to its own trunk after it.
``key=value`` are fields of ``ImtConfig``; ``sharing=none``: networks of their own.
"""

from __future__ import annotations

import argparse

import numpy as np
from imt_targets import TASKS, greedy_return
from numpy.typing import NDArray

from metarl_core.agents.common.options import apply_overrides
from metarl_core.agents.imt import ImtConfig, ImtLearner
from metarl_core.agents.imt.outcomes import Round
from metarl_core.tasks import task_family

VALIDATION, EPISODES = 6, 8
AGGREGATIONS = ("soup", "weighted", "best", "uniform")


class TunedFirst(ImtLearner):
    """Last layers are fitted to the common trunk, from which step 2 then takes both."""

    def train_submodels(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Alternation A, then step 2."""
        super().tune_last_layers()
        return super().train_submodels()

    def tune_last_layers(self) -> None:
        """Leave them as step 2 made them."""


def row(learner: ImtLearner, done: Round) -> str:
    """One line of the table."""
    assert learner.val_tasks is not None
    new = learner.adapt(learner.val_tasks, seed=77)
    unseen = [learner.evaluate(new, how, episodes=EPISODES, seed=78).mean() for how in AGGREGATIONS]
    models = learner.models
    own = greedy_return(learner, models.q, EPISODES)
    apart = (models.trunk_vector(models.trunks) - models.trunk_vector(models.common)).norm(dim=1).mean()
    cells = [
        *(f"{value:.1f}" for value in (*unseen, own)),
        f"{done.td_loss.mean():.3f}",
        f"{apart:.1f}",
    ]
    return f"| {done.number} | {' | '.join(cells)} |"


def main() -> None:
    """Train, and print a Markdown table as it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="PointRobot-v0")
    parser.add_argument("--split", default="extrapolation", choices=("extrapolation", "interpolation"))
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tune-first", action="store_true")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    args = parser.parse_args()
    # All rounds, whatever step 4 says, and epsilon as if there were fifteen of them.
    fixed = {"rounds": 15, "patience": 15, "tolerance": 0.0, "keep": "last"}
    given = dict(setting.split("=", 1) for setting in args.settings)
    config = apply_overrides(ImtConfig(), {**fixed, **given})
    family, rounds = task_family(args.env, split=args.split), int(args.rounds)
    train, val = (family.sample_tasks(k, part, args.seed) for k, part in ((TASKS, "train"), (VALIDATION, "val")))
    print(f"| round | {' | '.join(AGGREGATIONS)} | training tasks | TD error | trunks apart |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    kind = TunedFirst if args.tune_first else ImtLearner
    with kind(args.env, train, config, seed=args.seed, val_tasks=val) as learner:

        def watch(done: Round) -> bool:
            print(row(learner, done), flush=True)
            return len(learner.rounds) >= rounds

        learner.train(watch)


if __name__ == "__main__":
    main()
