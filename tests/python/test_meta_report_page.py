"""The page about several tasks: self-contained, a section for what there is, honest with one seed, closed to HTML."""

from __future__ import annotations

import base64
import dataclasses
import re

import numpy as np
import pytest
from html_page import Page

pytest.importorskip("matplotlib")

from metarl_core.report.meta import (
    Adaptation,
    AveragingWeights,
    ContinualResults,
    EvaluationCurves,
    MetaReportData,
    MethodCost,
    RoutingWeights,
    TaskEmbeddings,
    TaskSimilarity,
    TransferCurves,
    UnseenTasks,
    meta_figures,
    parameter_labels,
    write_meta_report,
)
from metarl_core.report.meta._figures_tasks import effective_number

TASKS = ("short", "middle", "long")

# What each section alone puts on the page: words that no other section does, and its figures.
SECTIONS = {
    "continual": ("average performance P", ["bars", "matrices"]),
    "curves": ("Every task while learning", ["curves"]),
    "unseen": ("not trained on", ["by-task", "forest"]),
    "adaptation": ("Score by episodes of adaptation", ["adaptation"]),
    "transfer": ("jump start", ["transfer"]),
    "similarity": ("Cosine of every two", ["similarity"]),
    "averaging": ("Averaging, by round", ["averaging"]),
    "routing": ("Submodels on new tasks", ["routing"]),
    "embeddings": ("principal components", ["embeddings"]),
    "costs": ("What each method used", []),
}


def everything(seeds=5, methods=("IMT", "EWC"), tasks=TASKS, title="CartPole tasks"):
    rng = np.random.default_rng(0)
    T, x = len(tasks), np.arange(6) * 100.0

    def each(*shape):
        return {method: rng.random((seeds, *shape)) for method in methods}

    weights = rng.dirichlet(np.ones(T), 4)
    return MetaReportData(
        title=title,
        about="What was run.",
        commands=["metarl reproduce imt-cartpole"],
        continual=ContinualResults(tasks, each(T, T), steps=np.arange(1, T + 1) * 1000),
        curves=EvaluationCurves(tasks, x, each(6, T), phase_starts=[0, 200, 400], phase_tasks=[0, 1, 2]),
        unseen=UnseenTasks(tasks, each(T), chance=np.full(T, -0.2), reference=np.full(T, 1.1)),
        adaptation=Adaptation([0, 1, 2, 4, 8, 10], each(T, 6), chance=0.0, reference=1.0),
        transfer=TransferCurves(x, {**each(6), "scratch": rng.random((seeds, 6))}, scratch="scratch", threshold=0.5),
        similarity=TaskSimilarity(tasks, np.eye(T)),
        averaging=AveragingWeights(tasks, weights),
        routing=RoutingWeights(tasks, ("new",), weights[:1].T),
        embeddings=TaskEmbeddings(tasks, rng.random((T, 8)), {"length": range(T)}, ("train", "val", "test")),
        costs=[MethodCost(methods[0], 300_000, 12_345, 48_000_000, False), MethodCost(methods[1])],
    )


def read(path):
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    return html, page


def test_the_page_has_everything_and_needs_nothing_else(tmp_path):
    data = everything()
    out = write_meta_report(tmp_path / "deep" / "report.html", data)
    html, page = read(out)
    figures = meta_figures(data)
    assert sorted(figures) == sorted(name for _, names in SECTIONS.values() for name in names)
    assert page.tags.count("img") == len(page.references) == len(figures) == 11
    for source in page.references:
        kind, _, content = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(content, validate=True)[:8] == b"\x89PNG\r\n\x1a\n"
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", html)
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    for words, _ in SECTIONS.values():
        assert words in page.text
    assert "metarl reproduce imt-cartpole" in page.text
    assert "What was run." in page.text
    assert "5 seeds; 95 % intervals from a bootstrap over the seeds." in page.text
    alternatives = re.findall(r'<img alt="([^"]*)"', html)
    assert len(set(alternatives)) == 11
    assert min(map(len, alternatives)) > 100  # they say what is seen, not only its name
    assert html.count("<figcaption>") == 11


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_is_there_only_if_it_has_data(tmp_path, name):
    data = everything(seeds=2)
    alone = MetaReportData("Title", **{name: getattr(data, name)})
    _, page = read(write_meta_report(tmp_path / "r.html", alone))
    figures = SECTIONS[name][1]
    assert sorted(meta_figures(alone)) == figures
    assert page.tags.count("img") == len(figures)
    assert [other for other, (words, _) in SECTIONS.items() if words in page.text] == [name]
    assert "Reproduce" not in page.text


def test_a_page_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="data has no section"):
        write_meta_report(tmp_path / "r.html", MetaReportData("Title", "about", ["command"]))
    assert list(tmp_path.iterdir()) == []


def test_one_seed_claims_nothing(tmp_path):
    _, page = read(write_meta_report(tmp_path / "r.html", everything(seeds=1)))
    assert "IMT, EWC and scratch: one seed, so that no interval exists." in page.text
    assert "One seed: no interval exists." in page.text
    assert "IMT exceeds chance, reference and EWC: too few seeds to say." in page.text
    assert "IMT forgets less than EWC: too few seeds to say." in page.text
    assert not re.search(r"\[-?[\d.]+, -?[\d.]+\]", page.text)
    assert ": yes." not in page.text


def test_results_are_beside_what_they_cost(tmp_path):
    data = everything()
    data = MetaReportData("t", continual=data.continual, unseen=data.unseen, costs=data.costs)
    html, _ = read(write_meta_report(tmp_path / "r.html", data))
    tables = {
        re.search("<caption>(.*?)</caption>", table)[1]: table for table in re.findall("<table>.*?</table>", html)
    }
    used = ("300k steps", "12.3k parameters", "48 MB stored")
    # Whether the task is given is said of known tasks; of unseen ones it never is.
    lines_of = {
        "Continual learning, with 95 % intervals": (*used, "task not given"),
        "Unseen tasks, with 95 % intervals": used,
    }
    for caption, lines in lines_of.items():
        (row,) = re.findall('<tr><th scope="row">IMT</th>.*?</tr>', tables[caption])
        assert row.endswith(f"<td>{''.join(f'<small>{line}</small>' for line in lines)}</td></tr>")
        cells = {len(re.findall("<t[dh][ >]", line)) for line in re.findall("<tr>.*?</tr>", tables[caption])}
        assert len(cells) == 1
    exact = "<td>300,000</td><td>12,345</td><td>48 MB</td><td>no</td></tr>"
    assert f'<tr><th scope="row">IMT</th>{exact}' in tables["What each method used"]
    plain = dataclasses.replace(data, costs=())
    html, _ = read(write_meta_report(tmp_path / "plain.html", plain))
    assert "task identity" not in html
    assert "task not given" not in html


def test_labels_are_text_not_html(tmp_path):
    evil = "<script>alert('x')</script>&\"<img src=http://evil/>"
    formula = "_$\\frac{$"  # of which matplotlib could not make one, and legends leave out what starts so
    data = everything(2, (evil, formula), (evil, formula, "c"), evil)
    data = dataclasses.replace(data, about=evil, commands=[evil])
    html, page = read(write_meta_report(tmp_path / "r.html", data))
    assert "script" not in page.tags
    assert all(reference.startswith("data:image/png") for reference in page.references)
    assert "<script>alert('x')</script>" in page.text
    assert html.count("<img ") == 11
    legend = meta_figures(data)["curves"].legends[0]
    assert [text.get_text() for text in legend.get_texts()][1] == " _\\$\\frac{\\$"


def test_evaluations_that_are_missing_are_left_out_and_said(tmp_path):
    data = everything()
    scores = {name: np.array(values) for name, values in data.unseen.scores.items()}
    scores["EWC"][0, 1] = np.nan
    scores["never"] = np.full((5, 3), np.nan)
    performance = {name: np.array(values) for name, values in data.continual.performance.items()}
    performance["EWC"][:2, -1, 0] = np.nan
    performance["never"] = np.full((5, 3, 3), np.nan)
    curves = {name: np.array(values) for name, values in data.curves.curves.items()}
    curves["EWC"][:, :2, 1] = np.nan
    curves["never"] = np.full((5, 6, 3), np.nan)
    data = dataclasses.replace(
        data,
        unseen=dataclasses.replace(data.unseen, scores=scores),
        continual=ContinualResults(TASKS, performance),
        curves=dataclasses.replace(data.curves, curves=curves),
        adaptation=Adaptation([0, 1], {"never": np.full((2, 2), np.nan)}),
        transfer=TransferCurves([0, 1], {"never": np.full((2, 2), np.nan), "s": np.ones((2, 2))}, scratch="s"),
    )
    html, page = read(write_meta_report(tmp_path / "r.html", data))
    assert '<th scope="row">EWC</th><td>4 of 5</td>' in html
    assert '<th scope="row">EWC</th><td>3 of 5</td>' in html
    assert '<th scope="row">never</th><td>0</td><td>not measured</td>' in html
    assert "Seeds: IMT 5, EWC 4;" in page.text
    assert "nan" not in page.text.replace("finance", "")
    panels = meta_figures(data)["curves"].axes
    drawn = {line.get_label(): line for line in panels[1].lines}
    assert np.isnan(drawn["EWC"].get_ydata()).tolist() == [True, True, False, False, False, False]
    assert "never" not in drawn


def test_curves_have_switches_and_shaded_phases():
    data = everything()
    for task, axes in enumerate(meta_figures(data)["curves"].axes[:3]):
        upright = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
        assert [list(x) for x in upright] == [[200, 200], [400, 400]]
        (phase,) = axes.patches
        assert (phase.get_x(), phase.get_width()) == [(0, 200), (200, 200), (400, 100)][task]
        labels = [line.get_label() for line in axes.lines if not line.get_label().startswith("_")]
        assert labels == ["IMT", "EWC"]


def test_weights_and_their_effective_number():
    weights = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]])  # seeds, rounds, submodels
    data = MetaReportData(
        "t",
        averaging=AveragingWeights(("a", "b"), weights),
        routing=RoutingWeights(("a", "b"), ("x", "y", "z"), [[0.2, 1.3, 0.5], [0.8, -0.3, 0.5]]),
    )
    np.testing.assert_allclose(effective_number(weights, axis=-1), [[1, 2], [2, 2]])
    figures = meta_figures(data)
    left, right = figures["averaging"].axes[:2]
    np.testing.assert_allclose(left.images[0].get_array(), [[0.75, 0.5], [0.25, 0.5]])  # submodels, rounds
    np.testing.assert_allclose(right.lines[2].get_ydata(), [1.5, 2.0])  # after one line for each seed
    image = figures["routing"].axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), [[0.2, 1.3, 0.5], [0.8, -0.3, 0.5]])
    assert image.get_clim() == (-0.3, 1.3)  # of either sign, as affine weights are


def test_the_map_shows_components_parts_and_explained_variance():
    plane = np.array([[-3.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, -1, 0]]) @ np.linalg.qr(np.arange(9).reshape(3, 3) + 1)[0]
    section = TaskEmbeddings(
        ("a", "b", "c", "d"), plane + 7, {"length": [1, 2, 3, 4]}, ("train", "train", "val", "test")
    )
    figure = meta_figures(MetaReportData("t", embeddings=section))["embeddings"]
    axes = figure.axes[0]
    points = np.concatenate([part.get_offsets() for part in axes.collections])
    np.testing.assert_allclose(np.abs(points), [[3, 0], [3, 0], [0, 1], [0, 1]], atol=1e-12)
    assert [part.get_array().tolist() for part in axes.collections] == [[1, 2], [3], [4]]
    assert axes.get_xlabel() == "first component (90 % of the variance)"
    assert axes.get_ylabel() == "second component (10 %)"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "training task", "validation task", "test task",
    ]  # fmt: skip


def test_labels_from_parameters():
    labels = parameter_labels({"length": [0.5, 1.25], "map": [3, 4]})
    assert labels == ("length=0.5, map=3", "length=1.25, map=4")
    assert parameter_labels({"length": [0.5001, 0.5002]}) == ("length=0.5001", "length=0.5002")
    with pytest.raises(ValueError, match=r"parameters have shapes \{'a': \(2,\), 'b': \(1,\)\}"):
        parameter_labels({"a": [1, 2], "b": [1]})


MATRIX = np.zeros((2, 3, 3))


def continual(matrix=MATRIX, **others):
    return ContinualResults(TASKS, {"a": matrix}, **others)


def test_weights_on_a_single_task_are_bars():
    weights = np.array([[[0.9], [-0.4], [0.5]], [[0.7], [-0.2], [0.5]]])  # seeds, submodels, tasks
    axes = meta_figures(MetaReportData("t", routing=RoutingWeights(TASKS, ("new",), weights)))["routing"].axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [0.8, -0.3, 0.5])
    assert [label.get_text() for label in axes.get_yticklabels()] == list(TASKS)
    assert {"0.80", "-0.30", "0.50"} <= {text.get_text() for text in axes.texts}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: continual(np.zeros((2, 3, 2))),
         r"ContinualResults.performance\['a'\] has shape \(2, 3, 2\); expected \(seeds, checkpoints, tasks=3\)"),
        (lambda: ContinualResults(TASKS, {"a": MATRIX, "b": np.zeros((2, 4, 3))}, task_ends=[0, 1, 2]),
         r"performance has \{'a': 3, 'b': 4\} checkpoints; expected one number"),
        (lambda: continual(np.zeros((2, 4, 3))), "task_ends is None, but .* 4 checkpoints"),
        (lambda: continual(task_ends=[0, 1, 3]), r"task_ends is .*expected integers in \[0, 3\)"),
        (lambda: continual(task_ends=[0.5, 1, 2]), "task_ends is .*expected integers"),
        (lambda: continual(steps=[1, 3]), r"steps has shape \(2,\); expected \(checkpoints=3,\)"),
        (lambda: continual(steps=[1, 3, 3]), "steps is .*must rise"),
        (lambda: continual(joint=["b"]), "joint is 'b'; expected one of 'a'"),
        (lambda: continual(auc={"a": np.zeros((2, 3))}), "auc and scratch_auc belong together"),
        (lambda: continual(auc={"a": np.full((2, 3), 2)}, scratch_auc=np.zeros((2, 3))), "a holds 2.0; .* be <= 1"),
        (lambda: continual(subject="b"), "subject is 'b'; expected one of 'a'"),
        (lambda: continual(MATRIX + np.inf), r"performance\['a'\] holds inf; must be finite, or NaN"),
        (lambda: continual([["x"]]), r"performance\['a'\] is no array of numbers"),
        (lambda: ContinualResults(TASKS, {}), "performance is empty"),
        (lambda: ContinualResults(TASKS, MATRIX), "performance is a ndarray; expected a mapping"),
        (lambda: ContinualResults("abc", {"a": MATRIX}), "tasks is 'abc'; expected a sequence of strings"),
        (lambda: ContinualResults(("a", "b", "a"), {"a": MATRIX}), "tasks holds 'a' twice"),
        (lambda: EvaluationCurves(TASKS, [0, 1], {"a": MATRIX}),
         r"EvaluationCurves.curves\['a'\] has shape \(2, 3, 3\); expected \(seeds, points=2, tasks=3\)"),
        (lambda: EvaluationCurves(TASKS, [0, 1, 2], {"a": MATRIX}, phase_starts=[0]), "belong together"),
        (lambda: EvaluationCurves(TASKS, [0, 1, 2], {"a": MATRIX}, phase_starts=[0], phase_tasks=[3]),
         r"phase_tasks is .*\[0, 3\)"),
        (lambda: UnseenTasks(TASKS, {"a": np.zeros((2, 2))}), r"UnseenTasks.scores\['a'\] has shape \(2, 2\)"),
        (lambda: UnseenTasks(TASKS, {"a": MATRIX[0]}, chance=[0, 0]), r"chance has shape \(2,\); expected \(tasks=3"),
        (lambda: UnseenTasks(TASKS, {"a": MATRIX[0]}, chance=[0, 1, 0], reference=[1, 1, 1]),
         r"reference\[1\] is 1.0, and chance on 'middle' is 1.0; the reference must be above"),
        (lambda: UnseenTasks(TASKS, {"a": MATRIX[0], "b": MATRIX[0, :2]}, paired=True),
         r"scores has \{'a': 3, 'b': 2\} seeds; must be equal, as paired is True"),
        (lambda: Adaptation([0, 1], {"a": MATRIX[0]}),
         r"Adaptation.curves\['a'\] has shape \(3, 3\); expected \(seeds, points=2\) or \(seeds, tasks, points=2\)"),
        (lambda: TransferCurves([0, 1, 2], {"a": MATRIX}, scratch="b"), "scratch is 'b'"),
        (lambda: TransferCurves([0, 1, 2], {"a": MATRIX[0], "b": MATRIX}, scratch="b"),
         r"curves has \{'a': 1, 'b': 3\} tasks"),
        (lambda: TransferCurves([0, 1, 2], {"a": MATRIX}, scratch="a", last=4), r"last is 4; must be in \[1, 3\]"),
        (lambda: TaskSimilarity(TASKS, np.eye(2)), r"similarity has shape \(2, 2\); expected \(tasks=3, tasks=3\)"),
        (lambda: TaskSimilarity(TASKS, 2 * np.eye(3)), "similarity holds 2.0; not a cosine"),
        (lambda: TaskSimilarity(TASKS, np.nan * np.eye(3)), "similarity holds nan; must be finite"),
        (lambda: AveragingWeights(TASKS, np.full((4, 3), 0.5)), "weights add up to 1.5 over the submodels"),
        (lambda: AveragingWeights(TASKS, [[-1, 1, 1]]), "weights holds -1.0; weights must not be negative"),
        (lambda: RoutingWeights(TASKS, ("x", "y"), np.full((2, 3), 0.5)),
         r"weights has shape \(2, 3\); expected \(submodels=3, tasks=2\) or \(seeds, submodels=3, tasks=2\)"),
        (lambda: TaskEmbeddings(TASKS, np.zeros((2, 5))), r"\(2, 5\); expected \(tasks=3, features\)"),
        (lambda: TaskEmbeddings(TASKS, MATRIX[0], {"length": [1]}), r"parameters\['length'\] has shape \(1,\)"),
        (lambda: TaskEmbeddings(TASKS, MATRIX[0], parts=["train"]), "parts is .*expected one of train, val, test"),
        (lambda: TaskEmbeddings(("a",), np.zeros((1, 5))), "tasks has one task; a map needs at least two"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_arrays_are_copies_that_nobody_can_change_behind_the_page():
    matrix = np.random.default_rng(0).random((2, 3, 3))
    section = ContinualResults(TASKS, {"a": matrix})
    before = section.performance["a"].copy()
    matrix[:] = 7
    np.testing.assert_array_equal(section.performance["a"], before)
    with pytest.raises(ValueError, match="read-only"):
        section.performance["a"][0] = 1
