"""make_vec and its environments at the boundary: inputs, outputs, seeds, state."""

from __future__ import annotations

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from vector_helpers import IDS, obs_bytes, rollout

import metarl_core
from metarl_core import ClosedError, env_spec, make_vec


def pairs_of(obs, space):
    """Return the arrays of an observation and their spaces."""
    return (obs, space.spaces) if isinstance(obs, tuple) else ([obs], [space])


@pytest.mark.parametrize("env_id", IDS)
def test_is_a_gymnasium_vector_env(env_id):
    envs = make_vec(env_id, 5)
    assert isinstance(envs, gymnasium.vector.VectorEnv)
    assert envs.num_envs == 5
    assert envs.spec.id == env_spec(env_id).gymnasium_id
    assert isinstance(envs.metadata["autoreset_mode"], gymnasium.vector.AutoresetMode)
    obs, info = envs.reset(seed=1)
    assert obs in envs.observation_space
    assert isinstance(info, dict)
    envs.action_space.seed(3)
    for _ in range(30):
        obs, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
        assert obs in envs.observation_space
        for array, space in zip(*pairs_of(obs, envs.single_observation_space), strict=True):
            assert array.dtype == space.dtype
        assert (reward.dtype, terminated.dtype, truncated.dtype) == (np.float64, np.bool_, np.bool_)
        assert reward.shape == terminated.shape == truncated.shape == (5,)
    envs.close()
    assert envs.closed


def test_gymnasium_can_make_them():
    metarl_core.register_envs()
    metarl_core.register_envs()  # twice is once
    envs = gymnasium.make_vec("metarl_core/CartPole-v1", num_envs=3, max_episode_steps=9, gravity=5.0)
    assert envs.num_envs == 3
    assert envs.max_episode_steps == 9
    assert envs.params["gravity"] == 5.0
    assert gymnasium.make_vec("metarl_core/DeepSea-v0", num_envs=2, size=4).reset()[0].shape == (2, 4, 4)


@pytest.mark.parametrize("imports", ["", "import metarl_core", "import metarl_core.vector"])
def test_gymnasium_registers_them_by_the_module_before_a_colon(imports):
    """In a process of its own, whatever of the package is there already."""
    code = f"""
{imports}
import gymnasium
assert "metarl_core/CartPole-v1" not in gymnasium.registry
envs = gymnasium.make_vec("metarl_core.vector.gym_env:metarl_core/CartPole-v1", num_envs=2, gravity=5.0)
assert (envs.num_envs, envs.params["gravity"]) == (2, 5.0)
gymnasium.make_vec("metarl_core.vector.gym_env:metarl_core/MinAtar-Breakout-v1", num_envs=1).reset()
gymnasium.make_vec("metarl_core/Taxi-v4", num_envs=1)  # from now on without it
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_ids_with_prefix_and_unknown_ids():
    assert make_vec("metarl_core/CartPole-v1", 1).env_spec.id == "CartPole-v1"
    for bad in ("CartPole-v9", "", None, 3):
        with pytest.raises(ValueError, match=r"unknown environment .*; valid ids: CartPole-v1, "):
            make_vec(bad, 1)


@pytest.mark.parametrize("env_id", IDS)
def test_every_parameter_has_a_doc_and_its_default_is_legal(env_id):
    spec = env_spec(env_id)
    resolved = spec.resolve({})
    assert set(resolved) == set(spec.parameters)
    for name, parameter in spec.parameters.items():
        assert parameter.doc
        assert resolved[name] == parameter.default
    for text in (spec.source, spec.state, spec.observation, spec.action, spec.reward, spec.ending):
        assert text


@pytest.mark.parametrize(
    ("env_id", "kwargs", "error", "match"),
    [
        ("CartPole-v1", {"num_envs": 0}, ValueError, "num_envs is 0; must be >= 1"),
        ("CartPole-v1", {"num_envs": 2.5}, TypeError, "num_envs is 2.5; must be an integer"),
        ("CartPole-v1", {"num_envs": 2**32 - 1}, MemoryError, "needs about .* bytes"),
        ("CartPole-v1", {"num_envs": 2**40}, MemoryError, "num_envs=1099511627776 needs about 87960930222080 bytes"),
        ("CartPole-v1", {"num_envs": 10**5000}, MemoryError, "needs about an integer of .* bits bytes"),
        ("CartPole-v1", {"num_envs": True}, TypeError, "num_envs is True; must be an integer"),
        ("CartPole-v1", {"num_threads": 10**5000}, ValueError, "num_threads is an integer of 16610 bits"),
        ("CartPole-v1", {"seed": True}, TypeError, "seed is True; must be an integer"),
        (
            "CartPole-v1",
            {"gravity": 10**400},
            ValueError,
            "gravity is an integer of 1329 bits; must be a finite number",
        ),
        ("CartPole-v1", {"gravity": -(10**5000)}, ValueError, "gravity is an integer of 16610 bits"),
        ("CartPole-v1", {"max_episode_steps": 10**400}, ValueError, "max_episode_steps is an integer of 1329 bits"),
        ("CartPole-v1", {"precision": np.zeros(2)}, ValueError, "precision is array.*; must be one of"),
        ("DeepSea-v0", {"size": 10**400}, ValueError, "size is an integer of 1329 bits; must be an integer >= 1"),
        ("FrozenLake-v1", {"desc": 5}, TypeError, "desc is 5; must be a sequence of rows"),
        ("FrozenLake-v1", {"desc": "SFG"}, TypeError, "desc is 'SFG'; must be a sequence of rows"),
        ("FrozenLake-v1", {"desc": [1, 2]}, TypeError, "desc has the row 1; must be a string"),
        ("FrozenLake-v1", {"desc": [b"S\xff"]}, ValueError, "the letter 'ÿ'"),
        ("FrozenLake-v1", {"reward_schedule": "100"}, ValueError, "three finite numbers"),
        ("FrozenLake-v1", {"reward_schedule": (10**400, 0, 0)}, ValueError, "three finite numbers"),
        ("CartPole-v1", {"num_threads": 0}, ValueError, "num_threads is 0"),
        ("CartPole-v1", {"autoreset_mode": "later"}, ValueError, "autoreset_mode is 'later'; must be 'next_step'"),
        ("CartPole-v1", {"seed": -1}, ValueError, "seed is -1"),
        ("CartPole-v1", {"gravitation": 1.0}, TypeError, "no parameter 'gravitation'; valid parameters: force_mag, "),
        ("CartPole-v1", {"gravity": "strong"}, TypeError, "gravity is 'strong'; must be a finite number"),
        ("CartPole-v1", {"gravity": float("nan")}, ValueError, "gravity is nan; must be a finite number"),
        ("CartPole-v1", {"length": 0.0}, ValueError, "length is 0.0; must be a finite number > 0"),
        ("CartPole-v1", {"precision": "float16"}, ValueError, "precision is 'float16'; must be one of 'float64'"),
        ("CartPole-v1", {"max_episode_steps": 0}, ValueError, "max_episode_steps is 0; must be an integer >= 1"),
        ("CartPole-v1", {"sutton_barto_reward": 2}, TypeError, "must be True or False"),
        ("MountainCar-v0", {"min_position": 1.0}, ValueError, "min_position is 1.0; must be < max_position"),
        ("MountainCar-v0", {"reset_low": 0.0}, ValueError, "must be min_position <= reset_low"),
        ("FrozenLake-v1", {"desc": ["SF", "F"]}, ValueError, "rows of equal length"),
        ("FrozenLake-v1", {"desc": ["FF", "FG"]}, ValueError, "has no S"),
        ("FrozenLake-v1", {"desc": ["SX", "FG"]}, ValueError, "the letter 'X'"),
        ("FrozenLake-v1", {"map_name": "9x9"}, ValueError, "must be one of '4x4', '8x8'"),
        ("FrozenLake-v1", {"success_rate": 1.5}, ValueError, "success_rate is 1.5"),
        ("FrozenLake-v1", {"reward_schedule": (1, 0)}, ValueError, "three finite numbers"),
        ("MountainCarContinuous-v0", {"min_action": 2.0}, ValueError, "min_action is 2.0; must be < max_action"),
        ("MountainCarContinuous-v0", {"max_position": -1.3}, ValueError, "min_position is -1.2; must be < max_pos"),
        ("CliffWalking-v1", {"is_slippery": 1}, TypeError, "is_slippery is 1; must be True or False"),
        ("Taxi-v4", {"rainy_probability": 1.1}, ValueError, "rainy_probability is 1.1"),
        ("Catch-v0", {"rows": 1}, ValueError, "rows is 1; must be an integer >= 2"),
        ("Bandit-v0", {"num_actions": 129}, ValueError, "num_actions is 129"),
        ("MemoryChain-v0", {"num_bits": 0}, ValueError, "num_bits is 0; must be an integer >= 1"),
        ("DiscountingChain-v0", {"mapping_seed": -1}, ValueError, "mapping_seed is -1"),
        ("CartPoleSwingup-v0", {"max_time": 0.0}, ValueError, "max_time is 0.0"),
        ("DeepSea-v0", {"size": 0}, ValueError, "size is 0; must be an integer >= 1"),
        ("DeepSea-v0", {"size": 2.0}, TypeError, "size is 2.0; must be an integer"),
        ("DeepSea-v0", {"mapping_seed": -1}, ValueError, "mapping_seed is -1"),
    ],
)
def test_bad_arguments(env_id, kwargs, error, match):
    with pytest.raises(error, match=match):
        make_vec(env_id, **{"num_envs": 2, **kwargs})


@pytest.mark.parametrize(
    ("actions", "error", "match"),
    [
        (np.zeros(3, np.int64), ValueError, r"actions: expected shape \(4,\), got \(3,\)"),
        (np.zeros((4, 1), np.int64), ValueError, r"actions: expected shape \(4,\), got \(4, 1\)"),
        (0, ValueError, r"actions: expected shape \(4,\), got \(\)"),
        (np.array([0, 1, 2, 1]), ValueError, r"actions\[2\] is 2; must be in \[0, 2\)"),
        ([0, 1, 1, -1], ValueError, r"actions\[3\] is -1"),
        (np.array([0, 1, 1, 2**63], np.uint64), ValueError, r"actions\[3\] is 9223372036854775808"),
        (np.array([0, 1, 256, 1], np.int16), ValueError, r"actions\[2\] is 256"),
        (np.zeros(4), TypeError, "expected an integer dtype, got float64"),
        (np.zeros(4, bool), TypeError, "expected an integer dtype, got bool"),
        (np.array([0, 1, None, 1]), TypeError, "expected an integer dtype, got object"),
        (["a", "b", "c", "d"], TypeError, "expected an integer dtype"),
    ],
)
def test_bad_actions_change_nothing(actions, error, match):
    envs, untouched = make_vec("CartPole-v1", 4, seed=1), make_vec("CartPole-v1", 4, seed=1)
    envs.reset()
    untouched.reset()
    with pytest.raises(error, match=match):
        envs.step(actions)
    assert rollout(envs) == rollout(untouched)


def test_bad_continuous_actions():
    envs = make_vec("Pendulum-v1", 3)
    envs.reset()
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"actions\[1\] is .*; must be finite"):
            envs.step(np.array([[0.0], [bad], [0.0]]))
    with pytest.raises(ValueError, match=r"expected shape \(3, 1\), got \(3,\)"):
        envs.step(np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="expected a float32 or float64 dtype, got complex128"):
        envs.step(np.zeros((3, 1), complex))
    assert (envs.step([[0], [1], [2]])[0] == envs.observe()).all()


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", ">i4"])
def test_every_integer_dtype_and_layout_means_the_same(dtype):
    rng = np.random.default_rng(2)
    envs, reference = make_vec("MountainCar-v0", 37, seed=1), make_vec("MountainCar-v0", 37, seed=1)
    envs.reset()
    reference.reset()
    for step in range(20):
        actions = rng.integers(0, 3, 37)
        given = actions.astype(dtype)
        if step % 2:  # not contiguous
            given = np.repeat(given, 2)[::2]
        np.testing.assert_array_equal(envs.step(given)[0], reference.step(actions)[0])


def test_step_before_reset_and_after_close():
    envs = make_vec("CartPole-v1", 2)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset must be called before step"):
        envs.step([0, 0])
    with pytest.raises(metarl_core.ResetNeededError):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.reset()
    envs.step([0, 0])
    envs.close()
    envs.close()
    for use in (lambda: envs.step([0, 0]), envs.reset, envs.get_state, lambda: envs.num_threads, envs.make_buffers):
        with pytest.raises(ClosedError, match="closed"):
            use()


def test_disabled_autoreset_wants_a_reset():
    envs = make_vec("CartPole-v1", 3, autoreset_mode="disabled", max_episode_steps=2)
    envs.reset()
    envs.step([0, 0, 0])
    assert envs.step([0, 0, 0])[3].all()
    with pytest.raises(gymnasium.error.ResetNeeded, match="environment 0 has ended"):
        envs.step([0, 0, 0])
    obs, _ = envs.reset(options={"reset_mask": np.array([True, True, False])})
    np.testing.assert_array_equal(obs, envs.observe())
    with pytest.raises(gymnasium.error.ResetNeeded, match="environment 2 has ended"):
        envs.step([0, 0, 0])
    envs.reset(options={"reset_mask": np.array([False, False, True])})
    envs.step([0, 0, 0])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"reset_mask": [True, False]}, TypeError, "must be a bool array"),
        ({"reset_mask": np.ones(2)}, TypeError, "must be a bool array, got float64"),
        ({"reset_mask": np.ones(3, bool)}, ValueError, r"must have shape \(2,\), got \(3,\)"),
        ({"reset_mask": np.zeros(2, bool)}, ValueError, "must be True somewhere"),
        ({"low": -1}, ValueError, "unknown key 'low'"),
        ({"x": 1, 3: 1}, ValueError, "unknown key 'x'"),
    ],
)
def test_bad_reset_options(options, error, match):
    envs = make_vec("CartPole-v1", 2)
    envs.reset()
    before = envs.get_state()
    with pytest.raises(error, match=match):
        envs.reset(seed=3, options=options)
    for key, value in envs.get_state().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "a", True, [1, 2, 3], [1, -2], [1, True]])
def test_bad_reset_seeds(seed):
    envs = make_vec("CartPole-v1", 2)
    with pytest.raises((ValueError, TypeError), match="seed"):
        envs.reset(seed=seed)


# Parameters that make them random.
RANDOM = {
    "DeepSea-v0": {"deterministic": False},
    "CliffWalking-v1": {"is_slippery": True},
    "Bandit-v0": {"noise_scale": 1.0},
}


@pytest.mark.parametrize("env_id", IDS)
def test_seeds(env_id):
    if env_id == "DiscountingChain-v0":
        pytest.skip("nothing in it is random")
    params = RANDOM.get(env_id, {})

    def run(seed, reset_seed=None):
        envs = make_vec(env_id, 6, seed=seed, **params)
        return obs_bytes(envs.reset(seed=reset_seed)[0]) + rollout(envs)

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert run(1, reset_seed=2) == run(2)
    assert run(1, reset_seed=2**64 - 1) == run(2**64 - 1)


def test_seed_sequences():
    envs = make_vec("CartPole-v1", 4)
    obs, _ = envs.reset(seed=[7, 7, 8, None])
    np.testing.assert_array_equal(obs[0], obs[1])
    assert (obs[0] != obs[2]).any()
    single, _ = make_vec("CartPole-v1", 1).reset(seed=7)
    np.testing.assert_array_equal(obs[0], single[0])
    # The batch size changes nothing for a row.
    many, _ = make_vec("CartPole-v1", 100).reset(seed=3)
    few, _ = make_vec("CartPole-v1", 4).reset(seed=3)
    np.testing.assert_array_equal(many[:4], few)
    # Seeds share no streams: seed + i would.
    other, _ = make_vec("CartPole-v1", 100).reset(seed=4)
    assert not set(map(bytes, many)) & set(map(bytes, other))


def test_resets_without_seed_go_on():
    envs = make_vec("CartPole-v1", 3, seed=5)
    first, second = envs.reset()[0], envs.reset()[0]
    assert (first != second).all()
    envs.reset(seed=5)
    np.testing.assert_array_equal(envs.reset()[0], second)


def test_time_limits():
    limited = make_vec("Pendulum-v1", 2, max_episode_steps=3)
    limited.reset()
    ends = [limited.step(np.zeros((2, 1)))[3].all() for _ in range(8)]
    assert ends == [False, False, True, False, False, False, True, False]  # a step in between resets
    endless = make_vec("Pendulum-v1", 2, max_episode_steps=None)
    endless.reset()
    assert not any(endless.step(np.zeros((2, 1)))[3].any() for _ in range(500))


def test_deep_sea_accessors_are_deep_seas_only():
    envs = make_vec("CartPole-v1", 2)
    for use in (envs.bad_episode, envs.bsuite_info):
        with pytest.raises(RuntimeError, match="no such flag"):
            use()
    with pytest.raises(RuntimeError, match="needs autoreset_mode='same_step'"):
        envs.final_obs_dense()


def test_frozen_lake_takes_a_map_in_every_form():
    rows = ["SFH", "FHG"]
    unwrapped = gymnasium.make("FrozenLake-v1", desc=rows).unwrapped
    forms = (rows, tuple(rows), [b"SFH", b"FHG"], [list(row) for row in rows], np.array(rows), unwrapped.desc)
    expected = None
    for desc in forms:
        envs = make_vec("FrozenLake-v1", 5, desc=desc)
        envs.reset()
        assert envs.single_observation_space.n == 6
        got = rollout(envs)
        expected = expected or got
        assert got == expected
