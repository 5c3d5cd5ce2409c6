// The Rows of this family, X(name, Rows), with the names that EnvDefinition::kernels has.
#pragma once

#include "envs/meta/maze_rows.h"
#include "envs/meta/point_robot_rows.h"
#include "envs/meta/random_mdp_rows.h"
#include "envs/meta/trial_bandit_rows.h"

#define METARL_META_ROWS(X)                                      \
  X(maze_f32, MazeRows<float>)                                   \
  X(maze_f64, MazeRows<double>)                                  \
  X(point_robot_f32, BlockRows<PointRobot<float>>)               \
  X(point_robot_f64, BlockRows<PointRobot<double>>)              \
  X(sparse_point_robot_f32, BlockRows<SparsePointRobot<float>>)  \
  X(sparse_point_robot_f64, BlockRows<SparsePointRobot<double>>) \
  X(random_mdp, RandomMdpRows)                                   \
  X(bernoulli_bandit, TrialBanditRows<false>)                    \
  X(gaussian_bandit, TrialBanditRows<true>)
