"""The rows of the two tables: the work, its unit, its goal, and what the machine allows where that is known.

The goals, and what a probe in C or C++ reached, are those of the project's design (AVX-512, one core of
another machine: what counts is the ratio in one run).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CAPACITY = 1 << 20
IMAGE_CAPACITY = 1 << 13
QUICK_CAPACITY = 1 << 14
QUICK_IMAGE_CAPACITY = 1 << 9
ENV_SIZES = (1, 16, 256, 4096, 65536)
ENVIRONMENTS = (
    "CartPole-v1",
    "MountainCar-v0",
    "Acrobot-v1",
    "Pendulum-v1",
    "FrozenLake-v1",
    "CliffWalking-v1",
    "Taxi-v4",
    "DeepSea-v0",
    "Catch-v0",
    "MinAtar/Breakout-v1",
    "MiniGrid-Empty-8x8-v0",
    "MiniGrid-DoorKey-8x8-v0",
    "PointRobot-v0",
    "Maze-v0",
)
DEEP_SEA_SIZE = 20
# Of these also rows with another task in every environment, and with SAME_STEP autoreset.
WITH_TASKS = ("CartPole-v1",)
SAME_STEP = ("CartPole-v1", "MountainCar-v0", "Pendulum-v1")

# unit -> (factor from 1/seconds or from seconds, higher is better)
UNITS = {"ns": (1e9, False), "bytes": (1.0, False), "M/s": (1e-6, True), "k/s": (1e-3, True)}


@dataclass(frozen=True)
class Goal:
    """What is aimed at: a value in the row's unit, or a ratio to the best peer."""

    kind: str
    value: float

    def text(self, unit: str) -> str:
        """Return it as the table shows it."""
        if self.kind == "ratio":
            return f">= {self.value:g}x"
        return f"{'>=' if UNITS[unit][1] else '<='} {self.value:g}"

    def met(self, ours: float, ratio: float | None, unit: str) -> bool | None:
        """Tell whether ours (in the row's unit) meets it; None if there is no peer to compare with."""
        if self.kind == "ratio":
            return None if ratio is None else ratio >= self.value
        return ours >= self.value if UNITS[unit][1] else ours <= self.value


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    suite: str
    work: str
    size: int | None
    workload: str
    params: dict[str, Any] = field(hash=False)
    case: str
    unit: str
    goal: Goal | None = None
    probe: str = ""

    @property
    def case_params(self) -> dict[str, Any]:
        """The parameters of the case."""
        return {} if self.size is None or self.suite == "env" else {"batch": self.size}

    def shown(self, value: float) -> float:
        """Convert seconds per item (or bytes) to the row's unit."""
        factor, rate = UNITS[self.unit]
        return factor / value if rate else factor * value


def _value(number: float | None) -> Goal | None:
    return None if number is None else Goal("value", number)


def replay_rows(quick: bool = False) -> list[Row]:
    """Return the rows of ``metarl bench replay``; ``quick`` uses small buffers and fewer sizes."""
    capacity = QUICK_CAPACITY if quick else CAPACITY
    plain, images = {"capacity": capacity}, {"capacity": QUICK_IMAGE_CAPACITY if quick else IMAGE_CAPACITY}
    rows = []

    def add(
        work: str,
        workload: str,
        params: dict[str, Any],
        case: str,
        unit: str,
        goals: dict[int, Any],
        probes: dict[int, str],
    ) -> None:
        for size, goal in goals.items():
            # What a buffer holds is lost in the noise of the process's memory when it is small.
            if not quick or size in (1, 256):
                wanted = goal if isinstance(goal, Goal) else _value(goal)
                rows.append(
                    Row("replay", work, size or None, workload, params, case, unit, wanted, probes.get(size, ""))
                )

    sample_probe = dict.fromkeys((32, 256, 1024, 8192), "21-25")
    update_probe = dict.fromkeys((32, 256, 1024, 8192), "3.3-5.1")
    add("tree: sample, ns an index", "tree", plain, "sample", "ns", {32: 60, 256: 30, 1024: 20, 8192: 15}, sample_probe)
    add(
        "tree: update, ns a priority",
        "tree",
        plain,
        "update",
        "ns",
        {32: 25, 256: 10, 1024: None, 8192: 6},
        update_probe,
    )
    small = "small", plain
    add(
        "small: sample with weights, M/s",
        *small,
        "sample",
        "M/s",
        {32: 6, 256: 16, 1024: 25},
        {32: "12", 256: "21", 1024: "23"},
    )
    add(
        "small: update_priorities, M/s",
        *small,
        "update",
        "M/s",
        {32: 15, 256: 35, 1024: 45},
        {32: "21", 256: "29", 1024: "32"},
    )
    add(
        "small: sample + update, M/s",
        *small,
        "loop",
        "M/s",
        {32: 4, 256: 11, 1024: 15},
        {32: "8", 256: "12", 1024: "13"},
    )
    add("small: resident bytes a transition", *small, "bytes", "bytes", {0: 64}, {})
    shared = "small, next_obs once: resident bytes a transition"
    add(shared, "shared", plain, "bytes", "bytes", {0: 46}, {})
    add("small: add one, k/s", *small, "add", "k/s", {1: 1800}, {1: "10000"})
    add("small: add a batch, M/s", *small, "add", "M/s", {64: 20, 1024: 60}, {64: "94", 1024: "152"})
    faster = Goal("ratio", 1.2)
    add("images: sample, k/s", "images", images, "sample", "k/s", {32: faster, 256: faster}, {})
    add("images: sample + update, k/s", "images", images, "loop", "k/s", {32: faster, 256: faster}, {})
    add("images: add a batch, k/s", "images", images, "add", "k/s", {64: Goal("ratio", 2.0)}, {})
    pixels = {"capacity": QUICK_IMAGE_CAPACITY if quick else CAPACITY >> 4}
    low = "frames stored once"
    add(f"{low}: sample, k/s", "pixels", pixels, "sample", "k/s", {32: None, 256: None}, {})
    add(f"{low}: sample + update, k/s", "pixels", pixels, "loop", "k/s", {32: None, 256: None}, {})
    add(f"{low}: resident bytes a transition", "pixels", pixels, "bytes", "bytes", {0: 7100}, {})
    add("sequences of 32: sample, k/s", "sequences", plain, "sample", "k/s", {32: None, 256: None}, {})
    add("16 tasks: sample, M/s", "tasks", plain, "sample", "M/s", {32: None, 256: None, 1024: None}, {})
    add("16 tasks: sample + update, M/s", "tasks", plain, "loop", "M/s", {32: None, 256: None, 1024: None}, {})
    sizes = (1, 32, 256, 1024, 8192, 1 << 17, 1 << 20)
    for name, dtype in (("f32", "float32"), ("f64", "float64")):
        params = {"capacity": capacity, "dtype": dtype}
        add(f"importance weights {name}, ns each", "weights", params, "weights", "ns", dict.fromkeys(sizes), {})
    return rows


def env_rows(quick: bool = False, threads: int = 1) -> list[Row]:
    """Return the rows of ``metarl bench env``; ``quick`` has fewer sizes, ``threads`` is what ours may use."""
    rows = []
    for name in ENVIRONMENTS:
        for num_envs in (1, 256) if quick else ENV_SIZES:
            goal = {1: Goal("value", 1.0), 256: Goal("ratio", 5.0), 4096: Goal("ratio", 8.0)}.get(num_envs)
            probe = "225-520" if name == "CartPole-v1" and num_envs >= 256 else ""
            params = {"env_id": name, "num_envs": num_envs, "threads": threads}
            if name == "DeepSea-v0":
                params["size"] = DEEP_SEA_SIZE
            work = f"{name}{f' {DEEP_SEA_SIZE}' if name == 'DeepSea-v0' else ''}, M steps/s"
            rows.append(Row("env", work, num_envs, "env", params, "step", "M/s", goal, probe))
    for names, key, value, title in (
        (WITH_TASKS, "tasks", True, "with tasks"),
        (SAME_STEP, "autoreset", "same_step", "SAME_STEP"),
    ):
        for name in names:
            for num_envs in (256,) if quick else (256, 4096):
                goal = Goal("ratio", 5.0 if num_envs == 256 else 8.0)
                params = {"env_id": name, "num_envs": num_envs, "threads": threads, key: value}
                rows.append(Row("env", f"{name} {title}, M steps/s", num_envs, "env", params, "step", "M/s", goal))
    return rows
