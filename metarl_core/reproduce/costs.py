"""What each method used, beside what it came to: steps from the rows, parameters and bytes from the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from metarl_core.reproduce.spec import Cell
from metarl_core.reproduce.summary import Group, Results, markdown

if TYPE_CHECKING:
    from metarl_core.agents.imt.run_config import ImtRunConfig

__all__ = ["cost_caption", "cost_table"]


def cost_table(results: Results, task: tuple[str, str]) -> str:
    """Markdown: environment steps, parameters and bytes of every method that is an IMT; empty where there is none.

    Parameters and bytes follow from the configuration, so that rows that were made before anybody counted have them,
    too; there is a dash for rows that were made with other settings than the experiment has now.
    """
    header = ["used in training", "environment steps", "parameters", "stored bytes", "all bytes", "seeds"]
    rows = [
        [results.label(group.method), *_used(results, group), str(len(group.rows))]
        for name in results.methods
        if (group := results.group(name, task)) is not None and _is_imt(results, group)
    ]
    return markdown(header, rows) if rows else ""


def _is_imt(results: Results, group: Group) -> bool:
    return results.experiment.methods[group.method].algorithm == "imt"


def _cells(results: Results, group: Group) -> list[Cell | None]:
    """The cell of each row; None where the row was made with other settings."""
    cells = {cell.key: cell for cell in results.experiment.cells}
    keys = [(r["method"], r["environment"], r["params"], int(r["seed"])) for r in group.rows]
    return [
        cells[key] if cells[key].digest == row["config"] else None for key, row in zip(keys, group.rows, strict=True)
    ]


def _hyper(cell: Cell) -> ImtRunConfig:
    from metarl_core.agents.imt.run_config import ImtRunConfig

    hyper = cell.config.hyperparameters
    assert isinstance(hyper, ImtRunConfig)
    return hyper


def _used(results: Results, group: Group) -> list[str]:
    """Steps, parameters, stored bytes and all bytes of a method."""
    from metarl_core.agents.imt.costs import PlannedCosts

    cells = _cells(results, group)
    steps = [int(row["environment_steps"]) for row in group.rows]
    first = next((cell for cell in cells if cell is not None), None)
    if first is None:
        return [_of_seeds(steps), "-", "-", "-"]
    planned = PlannedCosts(first.config)  # settings that seeds differ in cost nothing
    costs = [planned.after(count) for count, cell in zip(steps, cells, strict=True) if cell is not None]
    return [
        _of_seeds(steps),
        f"{planned.parameters:,}",
        _of_seeds([cost.stored_bytes for cost in costs]),
        _of_seeds([cost.all_bytes for cost in costs]),
    ]


def _of_seeds(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    median = f"{int(np.median(values)):,}"
    return median if least == most else f"{median} ({least:,} to {most:,})"


def cost_caption(results: Results) -> str:
    """What is counted, in words that fit the methods' options; empty without a method that is an IMT."""
    found = [c for group in results.groups if _is_imt(results, group) for c in _cells(results, group) if c is not None]
    if not found:
        return ""
    options = [_hyper(cell) for cell in found]
    beside = ["the transitions of held-out tasks that weights are made from"]
    if any(hyper.val_tasks for hyper in options):
        beside.insert(0, "those on validation tasks")
    trained = "trunks and last layers"
    if any(hyper.sharing == "average" for hyper in options):
        trained += "; of IMT also the common trunk and embedding predictors"
    if any(hyper.exploration == "curiosity" for hyper in options):
        trained += "; with curiosity also signal networks"
    stored = ["reference transitions", "replay"]
    if any(hyper.exploration == "curiosity" for hyper in options):
        stored.append("random priors")
    return (
        "Used in training: median over the seeds (the least to the most, if they differ). Environment steps are of all "
        f"training tasks, reference transitions among them, but not {' nor '.join(beside)}. "
        f"Parameters: {trained}; slow copies and optimisers are left out. Stored bytes: {', '.join(stored[:-1])} and "
        f"{stored[-1]}. All bytes: these, and 4 for each parameter."
    )
