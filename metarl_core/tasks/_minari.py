"""Datasets of one task in Minari's format (https://minari.farama.org), by the package minari itself."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from metarl_core.tasks._dataset_checks import space_size
from metarl_core.tasks._minari_checks import check_minari_files

__all__ = ["read_minari", "write_minari"]

_Array = npt.NDArray[Any]
_OWN = "metarl_core"  # our entry of metadata.json


def _package() -> Any:
    try:
        import h5py  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: F401
        import minari  # type: ignore[import-not-found, import-untyped, unused-ignore]
        from minari.dataset._storages import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
            hdf5_storage,  # noqa: F401 - needs pillow, which minari does not ask for
        )
    except ImportError as error:
        raise ImportError(f"this needs minari ({error}): pip install 'metarl-core[minari]'") from error
    return minari


def _gymnasium_space(space: Any) -> Any:
    import gymnasium

    if isinstance(space, gymnasium.Space):
        return space
    if space_size(space):
        return gymnasium.spaces.Discrete(int(space.n), start=int(space.start))
    return gymnasium.spaces.Box(space.low, space.high, tuple(space.shape), space.dtype)


def _dataset_id(metadata: Mapping[str, Any]) -> str:
    """An id as Minari wants it: words, and a version at the end."""
    words = str(metadata.get("task") or metadata.get("env_id") or "task")
    name = re.sub(r"[^-\w]+", "-", words).strip("-") or "task"
    return name if re.search(r"-v\d+$", name) else f"{name}-v0"


def write_minari(
    path: str | os.PathLike[str],
    columns: Mapping[str, _Array],
    bounds: npt.NDArray[np.int64],
    spaces: tuple[Any, Any],
    metadata: Mapping[str, Any],
    dataset_id: str | None,
) -> None:
    """Write a dataset as the folder ``path``, whole or not at all.

    Args:
        path: Folder that does not exist yet; the files come into its folder ``data``.
        columns: Those of the dataset.
        bounds: First row of every episode, and the number of rows at the end.
        spaces: Observation and action space.
        metadata: Of the dataset.
        dataset_id: Minari's name for it; None: from the metadata.

    Raises:
        ImportError: minari is not installed.
        FileExistsError: There is something at ``path``.
        ValueError: Rows of an episode do not follow one another, or the id is malformed.
    """
    minari = _package()
    from minari.data_collector.episode_buffer import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
        EpisodeBuffer,
    )
    from minari.dataset.minari_dataset import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
        parse_dataset_id,
    )
    from minari.dataset.minari_storage import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
        MinariStorage,
    )

    folder = Path(path)
    if folder.exists():
        raise FileExistsError(f"path is {str(folder)!r}, which exists; a dataset is written to a new folder")
    dataset_id = _dataset_id(metadata) if dataset_id is None else dataset_id
    if not re.search(r"-v\d+$", dataset_id):
        raise ValueError(f"dataset_id is {dataset_id!r}; must end with a version such as -v0")
    parse_dataset_id(dataset_id)
    _check_connected(columns, bounds)
    buffers = []
    for start, stop in itertools.pairwise(bounds):
        rows = slice(start, stop)
        buffers.append(
            EpisodeBuffer(
                observations=np.concatenate([columns["obs"][rows], columns["next_obs"][stop - 1 : stop]]),
                actions=columns["actions"][rows],
                rewards=columns["rewards"][rows],
                terminations=columns["terminated"][rows],
                truncations=columns["truncated"][rows],
            )
        )
    scratch = folder.parent / f".{folder.name}.{os.getpid()}.tmp"
    scratch.mkdir()
    try:
        # Minari's default stores images as JPEG, which loses bits.
        storage = MinariStorage.new(
            scratch / "data", *(_gymnasium_space(space) for space in spaces), data_format="hdf5", jpeg_encoding=False
        )
        own = {"metadata": dict(metadata), "episodes": columns["episode"][bounds[:-1]].tolist()}
        facts = {"dataset_id": dataset_id, "minari_version": minari.__version__, _OWN: own}
        if metadata.get("policy"):
            facts["algorithm_name"] = str(metadata["policy"])
        storage.update_metadata(facts)
        storage.update_episodes(buffers)
        scratch.rename(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _check_connected(columns: Mapping[str, _Array], bounds: npt.NDArray[np.int64]) -> None:
    inside = np.ones(len(columns["obs"]), np.bool_)
    inside[bounds[1:] - 1] = False
    rows = np.flatnonzero(inside)
    after, before = columns["obs"][rows + 1], columns["next_obs"][rows]
    differs = (after != before).reshape(len(rows), -1).any(axis=1)
    if differs.any():
        row = int(rows[differs.argmax()])
        raise ValueError(
            f"next_obs[{row}] differs from obs[{row + 1}], of the same episode {columns['episode'][row]}; Minari's "
            "format has whole stretches of episodes only: give rows that do not follow one another other numbers"
        )


def read_minari(source: Any) -> tuple[dict[str, _Array], tuple[Any, Any], dict[str, Any]]:
    """Read what Minari reads.

    Args:
        source: The folder of a dataset or its folder ``data``, or a ``minari.MinariDataset``.

    Returns:
        Columns, observation and action space, and metadata.

    Raises:
        ImportError: minari is not installed.
        FileNotFoundError: There is no dataset.
        TypeError: The spaces are not Box or Discrete.
        ValueError: It has no episodes, Minari cannot read it, or :func:`check_minari_files` refuses it.
    """
    minari = _package()
    if isinstance(source, minari.MinariDataset):
        return _read(source)
    folder = _data_folder(Path(source))
    ours = (TypeError, ValueError)  # our own, which say what is wrong
    with _damage_named(folder, ours):
        check_minari_files(folder)
    with _damage_named(folder, ()):
        dataset = minari.MinariDataset(folder)
    with _damage_named(folder, ours):
        return _read(dataset)


@contextlib.contextmanager
def _damage_named(folder: Path, clear: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what minari, h5py and numpy raise of damaged files into a ValueError that names the folder."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (*clear, ImportError, PermissionError)):
            raise
        raise ValueError(f"{str(folder)!r} cannot be read as a dataset of Minari: {error!r}") from error


def _read(dataset: Any) -> tuple[dict[str, _Array], tuple[Any, Any], dict[str, Any]]:
    for name in ("observation_space", "action_space"):
        space = getattr(dataset, name)
        if not space_size(space) and not hasattr(space, "low"):
            raise TypeError(
                f"{name} of {dataset.id} is {space}; must be Box or Discrete (flatten Dict and Tuple first)"
            )
    facts = dataset.storage.metadata
    own = facts.get(_OWN, {})
    metadata = own.get("metadata", {"task": dataset.id, "policy": facts.get("algorithm_name")})
    if "metadata" not in own and dataset.env_spec is not None:
        metadata["env_id"] = dataset.env_spec.id
    numbers = own.get("episodes")
    if numbers is not None and len(numbers) != dataset.storage.total_episodes:
        numbers = None  # another program added episodes
    parts: dict[str, list[_Array]] = {name: [] for name in ("obs", "actions", "rewards", "next_obs")}
    parts |= {"terminated": [], "truncated": [], "episode": []}
    for index, episode in zip(dataset.episode_indices, dataset, strict=True):
        length = len(episode.rewards)
        if len(episode.observations) != length + 1 or len(episode.actions) != length:
            raise ValueError(
                f"episode {index} of {dataset.id} has {length} rewards, {len(episode.actions)} actions and "
                f"{len(episode.observations)} observations; must have one observation more than the others"
            )
        parts["obs"].append(episode.observations[:-1])
        parts["next_obs"].append(episode.observations[1:])
        parts["actions"].append(episode.actions)
        parts["rewards"].append(episode.rewards)
        parts["terminated"].append(np.asarray(episode.terminations, np.bool_))
        parts["truncated"].append(np.asarray(episode.truncations, np.bool_))
        number = int(index) if numbers is None else int(numbers[index])
        parts["episode"].append(np.full(length, number, np.int64))
    if not parts["obs"]:
        raise ValueError(f"{dataset.id} has no episodes")
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    return columns, (dataset.observation_space, dataset.action_space), metadata


def _data_folder(path: Path) -> Path:
    for folder in (path / "data", path):
        if (folder / "metadata.json").is_file():
            return folder
    raise FileNotFoundError(f"{str(path)!r} holds no dataset: neither metadata.json nor data/metadata.json is there")
