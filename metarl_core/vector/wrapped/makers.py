"""From what make_vec was given to functions that make one environment each."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium

__all__ = ["MakeEnv", "find_spec", "makers_of"]

# Where an id with this beginning is registered, and the function to call if importing it is not enough.
_HOMES = {
    "MiniGrid-": ("minigrid", None),
    "BabyAI-": ("minigrid", None),
    "MinAtar/": ("minatar.gym", "register_envs"),
    "ALE/": ("ale_py", None),
    "Meta-World/": ("metaworld", None),
}


@dataclass(frozen=True)
class MakeEnv:
    """Makes an environment by its specification, which goes with it: another process need not have it registered.

    Attributes:
        spec: Gymnasium's specification.
        module: Imported first; empty: none.
        params: Keywords for ``gymnasium.make``.
    """

    spec: Any
    module: str
    params: Mapping[str, Any]

    def __call__(self) -> Any:
        """Make one."""
        if self.module:
            importlib.import_module(self.module)
        return gymnasium.make(self.spec, **self.params)


def find_spec(env_id: str) -> tuple[Any, str]:
    """Return Gymnasium's specification of an id, ``"module:id"`` included, and the module to import first.

    Raises:
        ValueError: Gymnasium does not know it, or can only make it as a vector.
        ImportError: The module cannot be imported.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    if name not in gymnasium.registry:
        for beginning, (home, register) in _HOMES.items():
            if name.startswith(beginning) and importlib.util.find_spec(home.partition(".")[0]) is not None:
                module = home
                found = importlib.import_module(home)
                if register is not None:
                    getattr(found, register)()
    try:
        spec = gymnasium.spec(name)
    except gymnasium.error.Error as error:
        raise ValueError(f"Gymnasium has no environment {env_id!r}: {error}") from None
    if spec.entry_point is None:
        raise ValueError(f"{env_id!r} cannot be made one by one: Gymnasium has it as a vector environment only")
    return spec, module


def makers_of(source: Any, num_envs: int | None, params: Mapping[str, Any]) -> list[Callable[[], Any]]:
    """Return a function for every row.

    Args:
        source: An id, a function that makes an environment, or a sequence of such functions, one for each row.
        num_envs: Number of rows; None: 1, or as many as functions.
        params: Keywords for ``gymnasium.make``.

    Raises:
        TypeError: ``source`` is none of these, or ``params`` were given with functions.
        ValueError: The id is unknown, or ``num_envs`` is not the number of functions.
        ImportError: The module of the id cannot be imported.
    """
    if isinstance(source, str):
        spec, module = find_spec(source)
        return [MakeEnv(spec, module, dict(params))] * (1 if num_envs is None else num_envs)
    if params:
        raise TypeError(f"{min(params)!r} is a parameter of an id; a function that makes environments takes none")
    if callable(source):
        return [source] * (1 if num_envs is None else num_envs)
    if not isinstance(source, Sequence) or not source or not all(callable(maker) for maker in source):
        raise TypeError(
            f"id is {source!r}; must be an id, a function that makes an environment, or a sequence of such functions"
        )
    if num_envs not in (None, len(source)):
        raise ValueError(f"num_envs is {num_envs}; must be the number of functions, {len(source)}, or be left out")
    return list(source)
