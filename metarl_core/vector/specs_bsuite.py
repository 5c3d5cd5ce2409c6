"""bsuite's environments beside DeepSea: descriptions and parameters."""

from __future__ import annotations

from metarl_core.vector.specs import _PRECISION, EnvSpec, ParameterSpec, _positive, _table

__all__ = ["BSUITE_SPECS"]

_BSUITE = "Osband et al., Behaviour suite for reinforcement learning (ICLR 2020); bsuite "


def _mapping_seed(what: str) -> ParameterSpec:
    return ParameterSpec(
        "mapping_seed", 0, f"{what}; None: a new one each time.", kind="int", low=0, high=2**32 - 1, optional=True
    )


BSUITE_SPECS = (
    EnvSpec(
        id="Catch-v0",
        source=_BSUITE + "catch",
        state="ball_row, ball_column, paddle, misses (over all episodes)",
        observation="float32[rows, columns]: 1 at the ball and at the paddle in the last row",
        action="integer in {0, 1, 2}: move the paddle left, not at all, right",
        reward="1 for a ball that is caught, -1 for one that is not, 0 before",
        ending="the ball is in the last row",
        parameters=_table(
            None,
            ParameterSpec("rows", 10, "Rows of the board.", kind="int", low=2, high=1024),
            ParameterSpec("columns", 5, "Columns of the board.", kind="int", low=1, high=1024),
        ),
    ),
    EnvSpec(
        id="Bandit-v0",
        source=_BSUITE + "bandit, bandit_noise and bandit_scale",
        state="total_regret (over all episodes)",
        observation="float32[1, 1]: 1",
        action="integer in {0, ..., num_actions - 1}: an arm",
        reward="the arm's mean, one of num_actions numbers from 0 to 1, times reward_scale, and noise",
        ending="after one step",
        parameters=_table(
            None,
            ParameterSpec("num_actions", 11, "Number of arms.", kind="int", low=1, high=128),
            _mapping_seed("Seed of the order of the arms' means (numpy RandomState, as bsuite draws it)"),
            ParameterSpec("noise_scale", 0.0, "Standard deviation of normal noise on the reward.", low=0.0),
            ParameterSpec("reward_scale", 1.0, "Factor of the reward without its noise."),
        ),
    ),
    EnvSpec(
        id="MemoryChain-v0",
        source=_BSUITE + "memory_chain, of memory_len and memory_size",
        state="step, query, perfect and mistakes (over all episodes), the bits context_0, context_1, ...",
        observation="float32[1, num_bits + 2]: 1 - step / memory_length; the query in the step before the last; the "
        "bits as -1 and 1 in the first step. That of a reset is shown again by the first step",
        action="integer in {0, 1}: the bit asked for; what counts is that of the last step",
        reward="1 or -1 in the last step: whether the action is the bit asked for",
        ending="after memory_length + 1 steps",
        parameters=_table(
            None,
            ParameterSpec("memory_length", 10, "Steps between the bits and the answer.", kind="int", low=1, high=10**6),
            ParameterSpec("num_bits", 1, "Number of bits.", kind="int", low=1, high=1024),
        ),
    ),
    EnvSpec(
        id="DiscountingChain-v0",
        source=_BSUITE + "discounting_chain",
        state="step, chain (the first action; -1 before)",
        observation="float32[1, 2]: the chain, step / 100",
        action="integer in {0, ..., 4}: in the first step, the chain that pays after 1, 3, 10, 30, 100 steps",
        reward="1, or 1.1 in the chain mapping_seed modulo 5, in the step in which the chain pays",
        ending="after 100 steps",
        parameters=_table(None, _mapping_seed("Which chain pays 1.1, modulo 5")),
    ),
    EnvSpec(
        id="CartPoleSwingup-v0",
        source="Barto, Sutton and Anderson (1983); " + _BSUITE + "cartpole_swingup",
        state="x (m), x_dot (m/s), theta (rad, in [0, 2 pi], 0 is upright), theta_dot (rad/s), time (s), "
        "episode_return; over all episodes raw_return, best_episode, total_upright",
        observation="float32[1, 8]: x and x_dot over x_threshold, sin(theta), cos(theta), theta_dot, time over "
        "max_time, 1 or -1 for |x| < x_reward_threshold and for |theta_dot| < theta_dot_threshold",
        action="integer in {0, 1, 2}: push left, not at all, right",
        reward="1 if cos(theta) > height_threshold and |theta_dot| and |x| are below their thresholds, minus move_cost "
        "for a push",
        ending="time > max_time or |x| > x_threshold",
        parameters=_table(
            None,
            ParameterSpec("height_threshold", 0.5, "Cosine of the angle above which the pole is upright."),
            ParameterSpec("theta_dot_threshold", 1.0, "Angular velocity below which it stands still, rad/s."),
            ParameterSpec("x_reward_threshold", 1.0, "Distance from the middle that still pays, m."),
            ParameterSpec("move_cost", 0.1, "Cost of a push."),
            _positive("x_threshold", 3.0, "Position that ends the episode, m."),
            _positive("timescale", 0.01, "Seconds between two steps."),
            _positive("max_time", 10.0, "Seconds after which the episode ends."),
            ParameterSpec(
                "init_range", 0.05, "x, x_dot, theta - pi and theta_dot start uniform in [-range, range).", low=0.0
            ),
            _positive("mass_cart", 1.0, "Mass of the cart, kg."),
            _positive("mass_pole", 0.1, "Mass of the pole, kg."),
            _positive("length", 0.5, "Half the length of the pole, m."),
            ParameterSpec("force_mag", 10.0, "Force of a push, N."),
            ParameterSpec("gravity", 9.8, "Gravity, m/s^2."),
            _PRECISION,
        ),
    ),
)
