"""Who is timed, with which options, and where these come from.

A task is what a worker gets: ``seed``, ``every``, ``max_steps`` and the fields of :meth:`Contestant.task`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metarl_core.benchmarks.peers import Peer

SB3 = Peer("stable_baselines3", "", "stable_baselines3", ())
CLEANRL = Peer("cleanrl", "", "cleanrl", ())


@dataclass(frozen=True)
class Contestant:
    """One learner with its options.

    Attributes:
        name: how the table calls it.
        worker: the program in this folder that runs it.
        peer: the library whose environment it runs in; None for ours.
        total_steps: environment steps that its options were made for; a run ends there.
        options: overrides of ours ("key=value"), or keyword arguments of SB3's DQN; "replay" there: those of our replay
            buffer, which it then uses.
        algorithm: name of ours.
        about: where the options come from.
    """

    name: str
    worker: str
    peer: Peer | None
    total_steps: int
    options: Any
    about: str
    algorithm: str | None = None

    def task(self) -> dict[str, Any]:
        """What its worker needs to know besides the seed."""
        return {"algorithm": self.algorithm, "options": self.options, "total_steps": self.total_steps}


_ZOO = {
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1000,
    "gamma": 0.99,
    "target_update_interval": 10,
    "train_freq": 256,
    "gradient_steps": 128,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
    "policy_kwargs": {"net_arch": [256, 256]},
}

# SB3 moves the target network while it acts, so in phases of 128 gradient steps each phase has one target.
_ZOO_IN_OURS = [
    "num_envs=1",
    "total_steps=50000",
    "normalize_obs=false",
    "double_q=false",
    "optimizer=adam",
    "lr=0.0023",
    "hidden=256,256",
    "batch_size=64",
    "replay_capacity=100000",
    "learning_starts=1000",
    "train_every=256",
    "epochs=128",
    "target_period=128",
    "max_grad_norm=10",
    "gamma=0.99",
    "epsilon_start=1",
    "epsilon_end=0.04",
    "epsilon_steps=8000",
]

_CLEANRL_IN_OURS = [
    "num_envs=1",
    "total_steps=500000",
    "normalize_obs=false",
    "double_q=false",
    "optimizer=adam",
    "lr=0.00025",
    "hidden=120,84",
    "batch_size=128",
    "replay_capacity=10000",
    "learning_starts=10000",
    "train_every=10",
    "epochs=1",
    "target_period=50",
    "gamma=0.99",
    "epsilon_start=1",
    "epsilon_end=0.05",
    "epsilon_steps=250000",
]

CONTESTANTS = (
    Contestant("ours ddqn", "run_ours.py", None, 50_000, [], "its shipped configuration", "ddqn"),
    Contestant("ours ddqn-per", "run_ours.py", None, 50_000, [], "its shipped configuration", "ddqn-per"),
    Contestant(
        "SB3 DQN",
        "run_sb3.py",
        SB3,
        50_000,
        _ZOO,
        "rl_zoo3 2.9.2, hyperparams/dqn.yml, CartPole-v1",
    ),
    Contestant(
        "SB3 DQN + our replay",
        "run_sb3.py",
        None,
        50_000,
        {**_ZOO, "replay": {}},
        "as SB3 DQN, with MetaRLReplayBuffer: prioritized, alpha 0.6, beta 0.4",
    ),
    Contestant(
        "SB3 DQN + our uniform replay",
        "run_sb3.py",
        None,
        50_000,
        {**_ZOO, "replay": {"prioritized": False}},
        "as SB3 DQN, with MetaRLReplayBuffer(prioritized=False)",
    ),
    Contestant(
        "ours as SB3",
        "run_ours.py",
        None,
        50_000,
        _ZOO_IN_OURS,
        "ddqn with rl_zoo3's options and without double Q; the squared loss is ours (SB3's is Huber's)",
        "ddqn",
    ),
    Contestant("CleanRL DQN", "run_cleanrl.py", CLEANRL, 500_000, None, "release 1.2.0, dqn.py, its defaults"),
    Contestant(
        "ours as CleanRL",
        "run_ours.py",
        None,
        500_000,
        _CLEANRL_IN_OURS,
        "ddqn with CleanRL's defaults and without double Q",
        "ddqn",
    ),
)
