"""The methods of a vector environment that draw it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metarl_core import _core
from metarl_core.errors import ResetNeededError
from metarl_core.vector.checks import checked_rows
from metarl_core.vector.render.registry import drawing_of
from metarl_core.vector.specs import EnvSpec, shown

if TYPE_CHECKING:
    from metarl_core.vector.builders import BuildPlan
    from metarl_core.vector.render.scene import Scene

__all__ = ["RENDER_MODES", "RenderMethods", "checked_render_mode"]

RENDER_MODES = ("rgb_array",)


def checked_render_mode(render_mode: Any) -> str | None:
    """Return the render mode.

    Raises:
        ValueError: There is no such mode.
    """
    if render_mode is None or (isinstance(render_mode, str) and render_mode in RENDER_MODES):
        return render_mode
    raise ValueError(f"render_mode is {shown(render_mode)}; must be 'rgb_array' or None")


class RenderMethods:
    """The methods of a vector environment that draw it."""

    num_envs: int
    env_spec: EnvSpec
    params: dict[str, Any]
    render_mode: str | None
    _core: _core.BatchEnv
    _core_step: Any
    _plan: BuildPlan
    _reset_needed_class: type[ResetNeededError]
    # Of the last step, unless the state came about in another way since.
    _last_actions: npt.NDArray[Any] | None = None

    def _keep_actions(self) -> None:
        """Remember the last actions from now on, which are no part of the state; only environments drawn pay for it."""
        step = self._core.step

        @functools.wraps(step)
        def remembering(actions: Any, out: Any) -> Any:
            result = step(actions, out)
            self._last_actions = np.array(actions, np.float64).reshape(self.num_envs, -1)
            return result

        self._core_step = remembering

    def render(self, *, rows: npt.ArrayLike | None = None) -> tuple[npt.NDArray[np.uint8], ...] | None:
        """Draw the environments as they are; nothing of them changes.

        Args:
            rows: Which environments, as integers in [0, num_envs), to save time; None: all. Gymnasium's ``render`` has
                no such argument, nor do its wrappers.

        Returns:
            A frame for each of them: new uint8 arrays ``(height, width, 3)``, all of one size, red, green and blue.
            Without a ``render_mode``, None, and a warning.

        Raises:
            TypeError: ``rows`` are no integers.
            ValueError: ``rows`` is not one-dimensional.
            IndexError: One of them does not exist.
            ResetNeededError: Before the first reset, or a call was interrupted since.
            ClosedError: After ``close``.
        """
        if self.render_mode is None:
            warnings.warn(
                "render() was called without a render_mode; give it to "
                f"make_vec({self.env_spec.id!r}, ..., render_mode='rgb_array')",
                stacklevel=2,
            )
            return None
        chosen = np.arange(self.num_envs) if rows is None else checked_rows("rows", rows, self.num_envs)
        try:
            self._core.check_ready(True)
        except ResetNeededError:
            raise self._reset_needed_class("render() needs a reset() first") from None
        return tuple(self._frames(chosen, self._core.get_state()))

    def _frames(
        self, rows: npt.NDArray[np.int64], state: dict[str, npt.NDArray[Any]]
    ) -> Iterator[npt.NDArray[np.uint8]]:
        from metarl_core.vector.render.canvas import Canvas

        drawing = drawing_of(self.env_spec.id)
        height, width = drawing.size_for(self.params)
        for scene in self._scenes(rows, state):
            canvas = Canvas(height, width)
            drawing.draw(scene, canvas)
            yield canvas.pixels

    def _scenes(self, rows: npt.NDArray[np.int64], state: dict[str, npt.NDArray[Any]]) -> Iterator[Scene]:
        from metarl_core.vector.render.scene import Scene

        names, task_names = self._core.field_names, self._core.task_parameters
        found = self._core.get_tasks()
        actions = self._last_actions
        observations = functools.cache(self._core.observe)

        def observation(row: int) -> npt.NDArray[Any]:
            return np.array(observations()[row])

        for row in rows.tolist():
            task = {} if found is None else dict(zip(task_names, found[0][row].tolist(), strict=True))
            elapsed = int(state["elapsed"][row])
            yield Scene(
                id=self.env_spec.id,
                state=dict(zip(names, state["state"][row].tolist(), strict=True)),
                params={**self.params, **task},
                common=self.params,
                constants=self._plan.numbers,
                table=self._plan.table,
                actions=None if actions is None or elapsed == 0 else tuple(actions[row].tolist()),
                elapsed=elapsed,
                done=bool(state["done"][row]),
                _observe=functools.partial(observation, row),
            )
