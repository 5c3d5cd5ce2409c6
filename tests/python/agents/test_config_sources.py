"""Where algorithm, environment and length of a run come from, and numbers that are too large."""

import json

import pytest

import metarl_core
from metarl_core.agents import ConfigError, RunConfig, resolve_config


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"algorithm": "ddqn", "env_id": "CartPole-v1"}))
    return path


def test_the_file_and_the_overrides_choose_algorithm_and_environment(file):
    config = resolve_config(None, None, file)
    assert (config.algorithm, config.env_id) == ("ddqn", "CartPole-v1")
    assert config.hyperparameters.epsilon_steps == 5000  # of the configuration that is shipped for the two
    config = resolve_config(overrides=["algorithm=ddqn-per", "env_id=MountainCar-v0"])
    assert (config.algorithm, config.env_id) == ("ddqn-per", "MountainCar-v0")
    assert (resolve_config().algorithm, resolve_config().env_id) == ("cder", "DeepSea-v0")
    assert resolve_config("ddqn", "metarl_core/CartPole-v1", file, ["algorithm=ddqn"]).algorithm == "ddqn"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cder", None), r"algorithm is 'cder' by the argument, but 'ddqn' by .*c\.json; give one"),
        ((None, "DeepSea-v0"), r"env_id is 'DeepSea-v0' by the argument, but 'CartPole-v1' by .*c\.json; give one"),
        ((None, None, "algorithm=ddqn-per"), r"algorithm is 'ddqn-per' by algorithm=ddqn-per, but 'ddqn' by"),
        ((None, None, "env_id=Acrobot-v1"), r"env_id is 'Acrobot-v1' by env_id=Acrobot-v1, but 'CartPole-v1' by"),
        ((None, None, "algorithm=3"), r"algorithm=3 \(algorithm=3\): expected text"),
    ],
)
def test_sources_that_disagree_are_an_error(file, arguments, message):
    algorithm, env_id, *overrides = arguments
    with pytest.raises(ConfigError, match=message):
        resolve_config(algorithm, env_id, file, overrides)


def test_an_unknown_algorithm_in_a_file_is_named(tmp_path):
    (tmp_path / "c.toml").write_text('algorithm = "cdre"\n')
    with pytest.raises(ConfigError, match="unknown algorithm 'cdre'"):
        resolve_config(None, None, tmp_path / "c.toml")
    (tmp_path / "d.toml").write_text('[hyperparameters]\nalgorithm = "ddqn"\n')
    with pytest.raises(ConfigError, match="unknown option 'algorithm'"):
        resolve_config(None, None, tmp_path / "d.toml")


@pytest.mark.parametrize("algorithm", ["cder", "ddqn", "ddqn-per"])
def test_deep_sea_runs_for_its_episodes_whatever_its_size(algorithm):
    for size, steps in ((20, 50_000), (10, 25_000), (30, 75_000)):
        config = resolve_config(algorithm, "DeepSea-v0", None, [f"size={size}"])
        assert (config.total_steps, config.max_episodes) == (steps, 2500)
    assert resolve_config(algorithm, "DeepSea-v0").total_steps == 25_000
    few = resolve_config(algorithm, "DeepSea-v0", None, ["size=30", "max_episodes=10", "num_envs=4"])
    assert (few.total_steps, few.max_episodes) == (12 * 30, 10)  # instances end together: 12 are the first with 10


def test_steps_that_are_given_alone_end_the_run(tmp_path):
    config = resolve_config("cder", "DeepSea-v0", None, ["size=10", "total_steps=90000"])
    assert (config.total_steps, config.max_episodes) == (90_000, None)
    config = resolve_config("cder", "DeepSea-v0", None, ["total_steps=90000", "max_episodes=7"])
    assert (config.total_steps, config.max_episodes) == (90_000, 7)
    (tmp_path / "c.toml").write_text("total_steps = 400\n")
    assert resolve_config("cder", "DeepSea-v0", tmp_path / "c.toml").max_episodes is None
    config = resolve_config("cder", "DeepSea-v0", tmp_path / "c.toml", ["max_episodes=9"])
    assert (config.total_steps, config.max_episodes) == (400, 9)


@pytest.mark.parametrize("env_id", ["DeepSea-v0", "metarl_core/DeepSea-v0"])
def test_deep_sea_takes_no_second_solve_rule(env_id):
    with pytest.raises(ConfigError, match=r"solve_return=0\.5: .*DeepSea-v0 has a solve rule of its own"):
        resolve_config("cder", env_id, None, ["solve_return=0.5"])
    with pytest.raises(ConfigError, match="solve_return"):
        RunConfig(env_id=env_id, solve_return=0.5)
    assert resolve_config("cder", "CartPole-v1", None, ["solve_return=195"]).solve_return == 195


HUGE = str(10**400)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (f"seed={2**64}", r"seed=18446744073709551616: must be <= 18446744073709551615"),
        (f"seed={HUGE}", "seed=1000.*must be <= 18446744073709551615"),
        (f"kappa={HUGE}", "kappa=inf: must be finite"),
        ("num_envs=1000000000", "num_envs=1000000000: must be <= 1048576"),
    ],
)
def test_numbers_that_are_too_large(setting, message):
    with pytest.raises(ConfigError, match=message):
        resolve_config("cder", "DeepSea-v0", None, [setting])


def test_integers_are_taken_exactly():
    assert resolve_config("cder", "CartPole-v1", None, [f"seed={2**64 - 1}"]).seed == 2**64 - 1
    assert resolve_config("cder", "CartPole-v1", None, [f"seed={2**53 + 1}"]).seed == 2**53 + 1


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "c.toml").write_bytes(b"kappa = \xff\n")
    with pytest.raises(ConfigError, match=r"c\.toml: expected UTF-8 text \(invalid start byte at byte 8\)"):
        resolve_config("cder", "DeepSea-v0", tmp_path / "c.toml")
    (tmp_path / "c.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match=r"c\.json"):
        resolve_config("cder", "DeepSea-v0", tmp_path / "c.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "algorithm=None: expected text"),
        ({"algorithm": "cder"}, "env_id=None: expected text"),
        ({"algorithm": "cder", "env_id": "DeepSea-v0", "hyperparameters": 3}, "hyperparameters=3: expected a table"),
        ({"algorithm": "cder", "env_id": "DeepSea-v0", "hyperparameters": {"kapa": 1}}, "unknown option 'kapa'"),
        ({"algorithm": "cder", "env_id": "DeepSea-v0", "sed": 1}, "unknown option 'sed'"),
    ],
)
def test_plain_values_that_are_no_configuration(values, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_dict(values)
    assert issubclass(ConfigError, metarl_core.MetarlError)
