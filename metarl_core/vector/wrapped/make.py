"""The part of make_vec that makes environments that are not native."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metarl_core.vector.checks import checked_integer
from metarl_core.vector.specs import env_spec
from metarl_core.vector.wrapped.makers import makers_of
from metarl_core.vector.wrapped.setters import ApplyTask
from metarl_core.vector.wrapped.vector import WrappedVectorEnv

__all__ = ["make_wrapped"]


def make_wrapped(
    source: Any,
    num_envs: int | None,
    num_threads: int | None,
    autoreset_mode: Any,
    seed: int,
    dense_final_obs: bool,
    *,
    backend: str,
    timeout: float | None,
    task_parameters: Sequence[str] | None,
    apply_task: ApplyTask | None,
    params: Mapping[str, Any],
) -> WrappedVectorEnv:
    """Make environments as :func:`metarl_core.make_vec` describes it."""
    if num_envs is not None:
        num_envs = checked_integer("num_envs", num_envs, 1, 2**32 - 1)
    if isinstance(source, str) and source.rpartition(":")[2].startswith("Meta-World/"):
        from metarl_core.tasks.metaworld import metaworld_by_id

        if task_parameters is not None or apply_task is not None:
            raise TypeError("task_parameters and apply_task are Meta-World's own here; leave them out")
        return metaworld_by_id(
            source.rpartition(":")[2],
            params,
            num_envs=num_envs,
            num_threads=num_threads,
            autoreset_mode=autoreset_mode,
            seed=seed,
            dense_final_obs=dense_final_obs,
            backend=backend,
            timeout=timeout,
        )
    try:
        makers = makers_of(source, num_envs, params)
    except ValueError as error:
        if not isinstance(source, str) or ":" in source or backend != "auto":
            raise
        try:
            env_spec(source)
        except ValueError as unknown:
            raise ValueError(f"{unknown}. {error}. If a package registers it, write 'package:{source}'") from None
        raise
    return WrappedVectorEnv(
        makers,
        num_threads,
        autoreset_mode,
        seed,
        dense_final_obs,
        backend=backend,
        timeout=timeout,
        task_parameters=task_parameters,
        apply_task=apply_task,
        params=params,
    )
