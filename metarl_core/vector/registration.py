"""Makes the environments known to Gymnasium, so that ``gymnasium.make_vec("metarl_core/CartPole-v1", ...)`` works."""

from __future__ import annotations

from metarl_core.vector.specs import env_spec, list_envs

__all__ = ["register_envs"]


def register_envs() -> None:
    """Register every environment with Gymnasium under ``metarl_core/``; a second call does nothing.

    Gymnasium calls this by itself where the package is installed (entry point ``gymnasium.envs``).

    Raises:
        ImportError: Gymnasium is not installed.
    """
    # Not from the top of the package: this may run while Gymnasium itself is being imported.
    from gymnasium.envs.registration import register, registry

    for name in list_envs():
        registered = f"metarl_core/{name}"
        if registered not in registry:
            register(
                id=registered,
                vector_entry_point="metarl_core.vector:make_vec",
                max_episode_steps=env_spec(name).max_episode_steps,
                kwargs={"id": name},
            )
