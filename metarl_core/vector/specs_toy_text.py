"""Gymnasium's environments of small discrete states, and its continuous mountain car: descriptions and parameters."""

from __future__ import annotations

from metarl_core.vector.specs import _PRECISION, EnvSpec, ParameterSpec, _positive, _table

__all__ = ["TOY_TEXT_SPECS"]

TOY_TEXT_SPECS = (
    EnvSpec(
        id="MountainCarContinuous-v0",
        source="Moore (1990); gymnasium MountainCarContinuous-v0 (its float32 numbers as NumPy 2 computes them)",
        state="position, velocity; float32 numbers after the first step",
        observation="float32[2]: the state",
        action="float32[1]: force, clipped to [min_action, max_action]",
        reward="-0.1 action^2 (not clipped), and 100 at the end",
        ending="position >= goal_position and velocity >= goal_velocity",
        parameters=_table(
            999,
            ParameterSpec("min_action", -1.0, "Largest force to the left."),
            ParameterSpec("max_action", 1.0, "Largest force to the right."),
            ParameterSpec("min_position", -1.2, "Left wall."),
            ParameterSpec("max_position", 0.6, "Right wall."),
            _positive("max_speed", 0.07, "Largest absolute velocity."),
            ParameterSpec("goal_position", 0.45, "Position of the goal."),
            ParameterSpec("goal_velocity", 0.0, "Least velocity at the goal."),
            ParameterSpec("power", 0.0015, "Acceleration of a force of 1."),
            ParameterSpec("gravity", 0.0025, "Acceleration of the steepest slope."),
            ParameterSpec("reset_low", -0.6, "The position starts uniform in [reset_low, reset_high)."),
            ParameterSpec("reset_high", -0.4, "The position starts uniform in [reset_low, reset_high)."),
            _PRECISION,
        ),
    ),
    EnvSpec(
        id="CliffWalking-v1",
        source="Sutton and Barto, Reinforcement Learning (2018), example 6.6; gymnasium CliffWalking-v1",
        state="cell (row * 12 + column)",
        observation="int64: the cell",
        action="integer in {0, 1, 2, 3}: up, right, down, left",
        reward="-1 a step; -100 for a step into the cliff, which leads back to the start",
        ending="at the goal, cell 47",
        parameters=_table(
            None,
            ParameterSpec(
                "is_slippery", False, "Whether a move goes to either side with probability 1/3 each.", kind="bool"
            ),
        ),
    ),
    EnvSpec(
        id="Taxi-v4",
        source="Dietterich, Hierarchical reinforcement learning with the MAXQ value function decomposition (2000); "
        "gymnasium Taxi-v4",
        state="state (((row * 5 + column) * 5 + passenger) * 4 + destination), fickle (1: the passenger will change "
        "their mind)",
        observation="int64: the state; info['action_mask'] int8[6]: the actions that change it",
        action="integer in {0, ..., 5}: south, north, east, west, pick up, drop off",
        reward="-1 a step, 20 for the delivery, -10 for picking up or dropping off where that is impossible",
        ending="the passenger is dropped off at their destination",
        parameters=_table(
            200,
            ParameterSpec("is_rainy", False, "Whether a drive may go to either side of the way meant.", kind="bool"),
            ParameterSpec(
                "fickle_passenger",
                False,
                "Whether the passenger may change destination when the taxi first moves with them.",
                kind="bool",
            ),
            ParameterSpec("rainy_probability", 0.8, "Probability of the way meant in the rain.", low=0.0, high=1.0),
            ParameterSpec(
                "fickle_probability", 0.3, "Probability of an episode with a fickle passenger.", low=0.0, high=1.0
            ),
        ),
    ),
    EnvSpec(
        id="Blackjack-v1",
        source="Sutton and Barto, Reinforcement Learning (2018), example 5.1; gymnasium Blackjack-v1",
        state="sum with aces as 1, whether an ace is there, number of cards, of the player and of the dealer; the "
        "dealer's first card",
        observation="tuple of three int64: the player's sum, the dealer's first card (1: ace), whether the player has "
        "an ace that counts 11",
        action="integer in {0, 1}: stick, hit",
        reward="1 won, 0 drawn, -1 lost; with natural (and not sab) 1.5 for a natural that wins",
        ending="the player sticks, or has more than 21",
        parameters=_table(
            None,
            ParameterSpec("natural", False, "Pay 1.5 for a natural that wins; ignored with sab.", kind="bool"),
            ParameterSpec("sab", True, "The book's rules: a natural wins unless the dealer has one too.", kind="bool"),
        ),
    ),
)
