"""``metarl eval``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metarl_core.cli._arguments import DEVICES, MAX_SEED, CommandParser, UsageError, integer, open_run, require, unknown

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Evaluate the agent of a run."""
    parser = CommandParser(
        "eval",
        "Play greedy episodes with the agent of a run's last checkpoint and write evaluation.json into the run.",
        "metarl eval RUN [--episodes N] [--seed N] [--device cpu|cuda]",
    )
    parser.add_argument("run", metavar="RUN", help="run directory")
    parser.add_argument("--episodes", type=integer(1), default=100, metavar="N", help="episodes to play (default: 100)")
    parser.add_argument("--seed", type=integer(0, MAX_SEED), metavar="N", help="seed of the environments")
    parser.add_argument("--device", metavar="|".join(DEVICES), help="where the networks live (default: as in training)")
    args = parser.parse(argv)
    if args.device is not None and args.device not in DEVICES:
        raise unknown("device", args.device, DEVICES)
    run_dir = Path(args.run)
    open_run(run_dir)
    if not (run_dir / "checkpoints" / "latest.ckpt").is_file():
        raise UsageError(f"{run_dir} has no checkpoint to evaluate")
    require("torch")
    from metarl_core.agents.evaluate import evaluate
    from metarl_core.runs._files import write_json

    outcome = evaluate(run_dir, episodes=args.episodes, seed=args.seed, device=args.device)
    write_json(run_dir / "evaluation.json", outcome)
    print(f"episodes  {outcome['episodes']:,} (seed {outcome['seed']}, checkpoint of step {outcome['step']:,})")
    print(f"return    {outcome['return_mean']:.4g} +- {outcome['return_std']:.4g} (mean, standard deviation)")
    print(f"range     {outcome['return_min']:.4g} to {outcome['return_max']:.4g}")
    print(f"length    {outcome['length_mean']:.1f} steps on average")
    return 0
