"""One HTML page on several tasks: continual learning, unseen tasks, adaptation, transfer, and what the submodels do."""

from __future__ import annotations

import os
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from metarl_core.report._figures import STYLE
from metarl_core.report._html import document, figure, png
from metarl_core.report.meta import _captions as captions
from metarl_core.report.meta import _figures_continual as continual
from metarl_core.report.meta import _figures_curves as curves
from metarl_core.report.meta import _figures_tasks as tasks
from metarl_core.report.meta import _figures_unseen as unseen
from metarl_core.report.meta import _tables as tables
from metarl_core.report.meta._comparisons import Comparison, continual_comparisons, unseen_comparisons
from metarl_core.report.meta._style import Palette
from metarl_core.report.meta._verdict import few_seeds, headline, rule
from metarl_core.report.meta.sections import MetaReportData
from metarl_core.runs._files import atomic_writer

__all__ = ["meta_figures", "write_meta_report"]

_CSS = """
caption { text-align: left; font-weight: 600; padding: .7rem .7rem .2rem; }
.meta { margin: 1.2rem 0; }
.meta th, .meta td { padding: .45rem .5rem; }
.headline + ul { margin: -.6rem 0 1.2rem; }
.meta tbody tr:last-child th { border-bottom: 0; }
.meta th[scope="row"] { vertical-align: middle; color: var(--ink); white-space: nowrap; text-align: left; }
.meta th:nth-child(2), .meta td:nth-child(2) { text-align: right; }
.meta small { display: block; font-size: .8rem; color: var(--soft); }
.claims th:nth-child(2), .claims td:nth-child(2) { text-align: left; }
.claims th[scope="row"] { white-space: normal; max-width: 24rem; }
"""

Draw = Callable[[Any, Palette], Figure]
Words = Callable[[Any], tuple[str, str]]


class _Kind(NamedTuple):
    """A figure: its name, the section that it needs, its heading, how it is drawn and described."""

    name: str
    section: str
    title: str
    draw: Draw
    words: Words


def _plain(draw: Callable[[Any], Figure]) -> Draw:
    """Figures that show no methods need no colours of methods."""
    return lambda section, palette: draw(section)  # noqa: ARG005


_FIGURES = (
    _Kind("forest", "unseen", "Unseen tasks", unseen.unseen_forest, captions.unseen_forest),
    _Kind("by-task", "unseen", "Unseen tasks, one by one", unseen.unseen_by_task, captions.unseen_by_task),
    _Kind("adaptation", "adaptation", "Adaptation", curves.adaptation_curves, captions.adaptation),
    _Kind("bars", "continual", "Performance and forgetting", continual.forgetting_bars, captions.forgetting),
    _Kind("matrices", "continual", "Tasks over time", continual.performance_heatmaps, captions.heatmaps),
    _Kind("curves", "curves", "Every task while learning", continual.task_curves, captions.task_curves),
    _Kind("transfer", "transfer", "Transfer", curves.transfer_curves, captions.transfer),
    _Kind("embeddings", "embeddings", "Map of the tasks", _plain(tasks.embedding_maps), captions.embeddings),
    _Kind("similarity", "similarity", "Similarity of the tasks", _plain(tasks.similarity), captions.similarity),
    _Kind("averaging", "averaging", "Averaging, by round", _plain(tasks.averaging_weights), captions.averaging),
    _Kind("routing", "routing", "Submodels on new tasks", _plain(tasks.routing_weights), captions.routing),
)
_SECTIONS = tuple(dict.fromkeys(kind.section for kind in _FIGURES))


def write_meta_report(path: str | os.PathLike[str], data: MetaReportData) -> Path:
    """Write one self-contained page: verdict, tables and figures of those sections for which there are data.

    Interquartile means, means and their 95 % intervals are those of ``metarl_core.stats``, but whole seeds are
    resampled, as what one agent does on several tasks belongs together. The verdict says yes or no where two intervals
    lie apart, and nothing where they overlap or where a method has fewer than four seeds.

    Args:
        path: The HTML file; its folder is made if need be.
        data: What there is to show.

    Returns:
        The path of the page.

    Raises:
        ValueError: ``data`` has no section at all.
    """
    if not data.costs and all(getattr(data, name) is None for name in _SECTIONS):
        raise ValueError("data has no section; expected at least one besides title, about and commands")
    out = Path(path)
    compared = {}
    if data.unseen is not None:
        compared["unseen"] = unseen_comparisons(data.unseen)
    if data.continual is not None:
        compared["continual"] = continual_comparisons(data.continual)
    parts = [f"<section><h1>{escape(data.title)}</h1>"]
    parts += [f"<p>{escape(data.about)}</p>"] if data.about else []
    for lead, claims in headline(data, compared):
        parts.append(f'<p class="headline">{escape(lead)}</p>')
        parts += [f"<ul>{''.join(f'<li>{escape(claim)}</li>' for claim in claims)}</ul>"] if claims else []
    parts += [f'<p class="note">{escape(words)}</p>' for words in (rule(compared), few_seeds(data)) if words]
    palette = _palette(data)
    for name in _SECTIONS:
        if getattr(data, name) is not None:
            parts += _tables(name, data, compared.get(name, []))
            parts += [_embedded(kind, data, palette) for kind in _FIGURES if kind.section == name]
    parts += [tables.cost_table(data.costs)] if data.costs else []
    if data.commands:
        commands = escape("\n".join(data.commands))
        parts.append(f'<h2>Reproduce</h2><div class="run"><pre class="command">{commands}</pre></div>')
    parts.append("</section>")
    page = document(data.title, data.title, "\n".join(parts), _CSS)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(out) as file:
        file.write(page.encode("utf-8", errors="replace"))
    return out


def meta_figures(data: MetaReportData) -> dict[str, Figure]:
    """Draw the figures of :func:`write_meta_report` alone, such as for files of their own.

    Returns:
        By name, those for which there are data: ``forest``, ``by-task``, ``adaptation``, ``bars``, ``matrices``,
        ``curves``, ``transfer``, ``embeddings``, ``similarity``, ``averaging``, ``routing``.
    """
    palette = _palette(data)
    with mpl.rc_context(STYLE):
        return {
            kind.name: kind.draw(section, palette)
            for kind in _FIGURES
            if (section := getattr(data, kind.section)) is not None
        }


def _palette(data: MetaReportData) -> Palette:
    methods: list[str] = []
    for section, field in (
        (data.unseen, "scores"),
        (data.adaptation, "curves"),
        (data.continual, "performance"),
        (data.curves, "curves"),
        (data.transfer, "curves"),
    ):
        methods += [] if section is None else list(getattr(section, field))
    return Palette(methods)


def _embedded(kind: _Kind, data: MetaReportData, palette: Palette) -> str:
    section = getattr(data, kind.section)
    with mpl.rc_context(STYLE):
        picture = png(kind.draw(section, palette))
    caption, alt = kind.words(section)
    return figure(picture, kind.title, caption, f"{kind.title}. {alt}")


def _tables(name: str, data: MetaReportData, compared: list[Comparison]) -> list[str]:
    """Tables of one section."""
    found = [tables.comparison_table(compared)] if compared else []
    if name == "unseen" and data.unseen is not None:
        found.append(tables.unseen_table(data.unseen, data.costs))
    if name == "continual" and data.continual is not None:
        found.append(tables.continual_table(data.continual, data.costs))
    if name == "adaptation" and data.adaptation is not None:
        found.append(tables.adaptation_table(data.adaptation))
    if name == "transfer" and data.transfer is not None:
        found.append(tables.transfer_table(data.transfer))
    return found
