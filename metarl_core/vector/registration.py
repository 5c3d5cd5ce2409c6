"""Makes the environments known to Gymnasium, so that ``gymnasium.make_vec("metarl_core/CartPole-v1", ...)`` works."""

from __future__ import annotations

from metarl_core.vector.specs import env_spec, list_envs

__all__ = ["register_envs"]


def register_envs() -> None:
    """Register every environment with Gymnasium under ``metarl_core/``; a second call does nothing.

    MinAtar's ids get a hyphen there, as Gymnasium's have one slash at most: ``metarl_core/MinAtar-Breakout-v1``.

    The first ``make_vec`` calls this by itself, and so does importing ``metarl_core.vector.gym_env``, which Gymnasium
    does for ``gymnasium.make_vec("metarl_core.vector.gym_env:metarl_core/CartPole-v1")``. Importing ``metarl_core``
    does not, also where Gymnasium was imported before: it would depend on the order of imports.

    Raises:
        ImportError: Gymnasium is not installed.
    """
    from gymnasium.envs.registration import register, registry

    for name in list_envs():
        registered = env_spec(name).gymnasium_id
        if registered not in registry:
            register(
                id=registered,
                vector_entry_point="metarl_core.vector:make_vec",
                max_episode_steps=env_spec(name).max_episode_steps,
                kwargs={"id": name},
            )
