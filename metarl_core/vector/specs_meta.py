"""Environments of the meta-learning literature, whose tasks are drawn: descriptions and parameters."""

from __future__ import annotations

import math

from metarl_core.vector.specs import _PRECISION, EnvSpec, ParameterSpec, _positive, _table

__all__ = ["META_SPECS"]

_MAML = "Finn, Abbeel and Levine, Model-agnostic meta-learning (ICML 2017); point_env_randgoal of cbfinn/maml_rl"
_PEARL = (
    "Rakelly et al., Efficient off-policy meta-reinforcement learning via probabilistic context variables (ICML 2019); "
    "sparse-point-robot of katerakelly/oyster"
)
_RL2 = "Duan et al., RL^2: Fast reinforcement learning via slow reinforcement learning (2016), section 3."
_MICONI = (
    "Miconi et al., Backpropamine (ICLR 2019), and gymnax MetaMaze-misc, with a map of its own for every environment"
)
_MOST_EXACT = 2.0**53


def _seed(name: str, what: str) -> ParameterSpec:
    return ParameterSpec(
        name, -1, f"Seed of {what}; -1: new in every episode.", kind="int", low=-1, high=int(_MOST_EXACT)
    )


_MAX_STEP = _positive("max_step", 0.1, "Largest absolute part of an action.")
_HORIZON = ParameterSpec("horizon", 100, "Pulls of an episode.", kind="int", low=1, high=2**31 - 2)
_NUM_ARMS = ParameterSpec("num_arms", 10, "Number of arms.", kind="int", low=1, high=128)
_BANDIT_STATE = "pulls, last_action (-1: none), last_reward, the arms' means mean_0, mean_1, ..."
_BANDIT_OBSERVATION = "float32[num_arms + 1]: one-hot last action, last reward; zeros at first"

META_SPECS = (
    EnvSpec(
        id="PointRobot-v0",
        source=_MAML,
        state="x, y, goal_x, goal_y; starts at (0, 0)",
        observation="float32[2]: x, y",
        action="float32[2]: what is added to x and y, each clipped to [-max_step, max_step]",
        reward="minus the distance to the goal",
        ending="|x - goal_x| < goal_tolerance and |y - goal_y| < goal_tolerance",
        parameters=_table(
            100,
            ParameterSpec("goal_x", None, "x of the goal; None (as a task: NaN): drawn at every reset.", optional=True),
            ParameterSpec("goal_y", None, "y of the goal; None (as a task: NaN): drawn at every reset.", optional=True),
            ParameterSpec("goal_range", 0.5, "Goals are drawn uniform in [-goal_range, goal_range)^2.", low=0.0),
            _MAX_STEP,
            ParameterSpec("goal_tolerance", 0.01, "Half the side of the square around the goal that ends it.", low=0.0),
            _PRECISION,
        ),
    ),
    EnvSpec(
        id="SparsePointRobot-v0",
        source=_PEARL,
        state="x, y, goal_x, goal_y; starts at (0, 0)",
        observation="float32[2]: x, y",
        action="float32[2]: what is added to x and y, each clipped to [-max_step, max_step]",
        reward="1 - distance to the goal where that is <= goal_radius, else 0; with dense_reward minus the distance",
        ending="never",
        parameters=_table(
            20,
            ParameterSpec(
                "goal_angle",
                None,
                "Angle of the goal on the half circle, rad; None (as a task: NaN): drawn uniform in [0, pi) at every "
                "reset.",
                low=0.0,
                high=math.pi,
                optional=True,
            ),
            _positive("circle_radius", 1.0, "Distance of the goal from the start."),
            _MAX_STEP,
            ParameterSpec("goal_radius", 0.2, "Distance of the goal up to which there is a reward.", low=0.0),
            ParameterSpec(
                "dense_reward", False, "Reward minus the distance, as in PEARL's meta-training.", kind="bool"
            ),
            _PRECISION,
        ),
    ),
    EnvSpec(
        id="BernoulliBandit-v0",
        source=_RL2 + "1",
        state=_BANDIT_STATE,
        observation=_BANDIT_OBSERVATION,
        action="integer in {0, ..., num_arms - 1}: the arm to pull",
        reward="1 with the probability that is the arm's mean, else 0",
        ending="after horizon pulls",
        parameters=_table(
            None,
            _NUM_ARMS,
            _HORIZON,
            _seed("task_seed", "the arms' means"),
            ParameterSpec("mean_low", 0.0, "Means are uniform in [mean_low, mean_high).", low=0.0, high=1.0),
            ParameterSpec("mean_high", 1.0, "Means are uniform in [mean_low, mean_high).", low=0.0, high=1.0),
        ),
    ),
    EnvSpec(
        id="GaussianBandit-v0",
        source="Sutton and Barto, Reinforcement Learning (2018), section 2.3: the 10-armed testbed, as a task of RL^2",
        state=_BANDIT_STATE,
        observation=_BANDIT_OBSERVATION,
        action="integer in {0, ..., num_arms - 1}: the arm to pull",
        reward="normal around the arm's mean, with standard deviation reward_scale",
        ending="after horizon pulls",
        parameters=_table(
            None,
            _NUM_ARMS,
            _HORIZON,
            _seed("task_seed", "the arms' means"),
            ParameterSpec("mean_loc", 0.0, "Mean of the normal distribution of the arms' means."),
            ParameterSpec("mean_scale", 1.0, "Standard deviation of the arms' means.", low=0.0),
            ParameterSpec("reward_scale", 1.0, "Standard deviation of a reward.", low=0.0),
        ),
    ),
    EnvSpec(
        id="TabularMDP-v0",
        source="Osband, Russo and Van Roy, (More) efficient reinforcement learning via posterior sampling (NIPS 2013); "
        + _RL2
        + "2",
        state="state, step (since the reset), last_action (-1: none), last_reward, mdp_name_low, mdp_name_high (of 32 "
        "bits each, which the process is generated from)",
        observation='int64: the state; with observation="history" float32[num_states + num_actions + 2]: one-hot '
        "state, one-hot last action, last reward, 1 where an episode of the process has just ended",
        action="integer in {0, ..., num_actions - 1}",
        reward="normal around the mean of state and action, with standard deviation reward_scale",
        ending="after num_episodes episodes of the process, of horizon steps each; each starts in state 0",
        parameters=_table(
            None,
            ParameterSpec("num_states", 10, "Number of states.", kind="int", low=1, high=256),
            ParameterSpec("num_actions", 5, "Number of actions.", kind="int", low=1, high=128),
            ParameterSpec("horizon", 10, "Steps of an episode of the process.", kind="int", low=1, high=10**6),
            ParameterSpec(
                "num_episodes",
                1,
                "Episodes of the process until the environment's episode (RL^2's trial) ends.",
                kind="int",
                low=1,
                high=1000,
            ),
            ParameterSpec("observation", "state", "What is observed.", kind="choice", choices=("state", "history")),
            _seed("task_seed", "the process: transition probabilities ~ flat Dirichlet, and mean rewards"),
            ParameterSpec("mean_loc", 1.0, "Mean of the normal distribution of the mean rewards."),
            ParameterSpec("mean_scale", 1.0, "Standard deviation of the mean rewards.", low=0.0),
            ParameterSpec("reward_scale", 1.0, "Standard deviation of a reward.", low=0.0),
        ),
    ),
    EnvSpec(
        id="Maze-v0",
        source=_MICONI,
        state="row, column, goal_row, goal_column, last_action (-1: none), time (steps), view (9 bits: the walls "
        "around), last_reward, walls_0, walls_1, ... (a row each; bit c - 1: whether the cell of column c is a wall)",
        observation="float32[15]: the 3 x 3 cells around, row by row (1: wall); one-hot last action (zeros at first); "
        "last reward; steps / max_episode_steps",
        action="integer in {0, 1, 2, 3}: up, right, down, left; a step against a wall stays",
        reward="goal_reward at the goal, step_reward, bump_reward against a wall, and shaping times the cells that the "
        "step came closer to the goal",
        ending="at the goal; with teleport never",
        parameters=_table(
            200,
            ParameterSpec(
                "size",
                11,
                "Rows and columns with the outer walls, odd. Rooms are the cells of odd row and column; the map is a "
                "perfect maze, by randomised depth-first search.",
                kind="int",
                low=5,
                high=51,
            ),
            _seed("map_seed", "the map, and of the goal unless goal_row and goal_column are given"),
            ParameterSpec(
                "goal_row", -1, "Row of the goal, odd; -1: a random room, not (1, 1).", kind="int", low=-1, high=49
            ),
            ParameterSpec("goal_column", -1, "Column of the goal, odd; -1: as goal_row.", kind="int", low=-1, high=49),
            ParameterSpec("goal_reward", 1.0, "Reward of reaching the goal."),
            ParameterSpec("step_reward", 0.0, "Reward of every step."),
            ParameterSpec("bump_reward", 0.0, "Reward of a step against a wall."),
            ParameterSpec(
                "shaping",
                0.0,
                "Reward for each cell that a step comes closer to the goal, walls ignored: the undiscounted difference "
                "of a potential. 0: the reward is sparse.",
            ),
            ParameterSpec(
                "random_start", True, "Start in a random room, not the goal's; False: at (1, 1).", kind="bool"
            ),
            ParameterSpec(
                "teleport",
                False,
                "At the goal go on from a random room instead of ending, as MetaMaze does.",
                kind="bool",
            ),
        ),
    ),
)
