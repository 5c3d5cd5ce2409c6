"""The same bits at every instruction set and number of threads, for the environments of small states and bsuite's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import metarl_core

# Bytes of everything that an environment hands out, at 1, 2 and 8 threads; prints a line an environment.
SCRIPT = """
import hashlib, sys
import numpy as np
from metarl_core import make_vec

CASES = [
    ("MountainCarContinuous-v0", {}),
    ("MountainCarContinuous-v0", {"precision": "float32"}),
    ("CliffWalking-v1", {}),
    ("CliffWalking-v1", {"is_slippery": True}),
    ("Taxi-v4", {}),
    ("Taxi-v4", {"is_rainy": True, "fickle_passenger": True}),
    ("Blackjack-v1", {}),
    ("Blackjack-v1", {"natural": True, "sab": False}),
    ("Catch-v0", {}),
    ("Bandit-v0", {"noise_scale": 0.5}),
    ("MemoryChain-v0", {"memory_length": 3, "num_bits": 130}),
    ("DiscountingChain-v0", {}),
    ("CartPoleSwingup-v0", {"max_time": 0.05}),
    ("CartPoleSwingup-v0", {"max_time": 0.05, "precision": "float32"}),
    ("PointRobot-v0", {"max_step": 3.0}),
    ("PointRobot-v0", {"precision": "float32"}),
    ("SparsePointRobot-v0", {}),
    ("SparsePointRobot-v0", {"precision": "float32"}),
    ("BernoulliBandit-v0", {"horizon": 4}),
    ("GaussianBandit-v0", {}),
    ("TabularMDP-v0", {"horizon": 2, "num_episodes": 2}),
    ("TabularMDP-v0", {"observation": "history", "num_states": 6}),
    ("Maze-v0", {}),
    ("Maze-v0", {"size": 27, "teleport": True}),
]
ROWS = 20_011

def digest_of(env_id, params, threads):
    digest = hashlib.sha256()
    def add(obs, *others):
        for array in (*(obs if isinstance(obs, tuple) else (obs,)), *others):
            digest.update(array.tobytes())
    envs = make_vec(env_id, ROWS, num_threads=threads, seed=2024, **{"max_episode_steps": 7, **params})
    add(envs.reset()[0])
    rng = np.random.Generator(np.random.Philox(5))
    for step in range(16):
        if hasattr(envs.single_action_space, "n"):
            actions = rng.integers(0, envs.single_action_space.n, ROWS)
        else:
            shape = (ROWS, *envs.single_action_space.shape)
            actions = ((rng.integers(0, 4097, shape) - 2048) / 1024).astype(np.float32)
        result = envs.step(actions)
        add(*result[:4], *(result[4][key] for key in ("prob", "action_mask") if key in result[4]))
    add(envs.get_state()["state"])
    return digest.hexdigest()[:16]

for env_id, params in CASES:
    digests = [digest_of(env_id, params, threads) for threads in (1, 2, 8)]
    assert len(set(digests)) == 1, (env_id, params, digests)
    print(env_id, *params, digests[0])
"""
GOLDEN = """
MountainCarContinuous-v0 c1f0c4402be4f6da
MountainCarContinuous-v0 precision 813dfd91c5561f4d
CliffWalking-v1 eb50d0d756803d6d
CliffWalking-v1 is_slippery 21cce486117fc00f
Taxi-v4 3bd4c371fbed8284
Taxi-v4 is_rainy fickle_passenger a88a2109aabbe5ae
Blackjack-v1 25bf7d227a79b1f1
Blackjack-v1 natural sab 55a68641a7d5b2ef
Catch-v0 7f65b4055d170921
Bandit-v0 noise_scale 8e106cb30e325f69
MemoryChain-v0 memory_length num_bits 00b0e89234a1ff8d
DiscountingChain-v0 f15deb59327c65ef
CartPoleSwingup-v0 max_time f57ae4e89b49a28a
CartPoleSwingup-v0 max_time precision 11035c2df523eb40
PointRobot-v0 max_step ce592d6e09aa0f6b
PointRobot-v0 precision 9cd41b2e73c0cd68
SparsePointRobot-v0 fef38f64ae973d81
SparsePointRobot-v0 precision 0573e7e870d552b9
BernoulliBandit-v0 horizon bc23c52c08ef8930
GaussianBandit-v0 93d29142cf61cb1f
TabularMDP-v0 horizon num_episodes 37daf60dccb54201
TabularMDP-v0 observation num_states 35e46350729f8407
Maze-v0 39020e7697885dca
Maze-v0 size teleport 93bb89dab611fcf8
""".strip()


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_the_same_bits_everywhere(isa):
    if isa not in metarl_core.build_info()["isa_levels"]:
        pytest.skip(f"{isa} is not compiled in")
    done = subprocess.run(
        [sys.executable, "-c", "import metarl_core; print(metarl_core.build_info()['isa_active'])\n" + SCRIPT],
        env={**os.environ, "METARL_ISA": isa},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    active, _, digests = done.stdout.strip().partition("\n")
    if active != isa:
        pytest.skip(f"this CPU lacks {isa}: {active} would run")
    print(f"{isa}, threads 1, 2 and 8:\n{digests}")
    assert digests == GOLDEN
