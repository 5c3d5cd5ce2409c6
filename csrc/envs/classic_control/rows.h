// The Rows of this family, X(name, Rows), with the names that EnvDefinition::kernels has.
#pragma once

#include "envs/classic_control/acrobot_rows.h"
#include "envs/classic_control/cartpole_rows.h"
#include "envs/classic_control/mountain_car_continuous_rows.h"
#include "envs/classic_control/mountain_car_rows.h"
#include "envs/classic_control/pendulum_rows.h"

#define METARL_CLASSIC_CONTROL_ROWS(X)                                     \
  X(acrobot_f32, BlockRows<Acrobot<float>>)                                \
  X(acrobot_f64, BlockRows<Acrobot<double>>)                               \
  X(cartpole_euler_f32, BlockRows<EulerCartPole<float>>)                   \
  X(cartpole_euler_f64, BlockRows<EulerCartPole<double>>)                  \
  X(cartpole_semi_implicit_f32, BlockRows<SemiImplicitCartPole<float>>)    \
  X(cartpole_semi_implicit_f64, BlockRows<SemiImplicitCartPole<double>>)   \
  X(mountain_car_continuous_f32, BlockRows<MountainCarContinuous<float>>)  \
  X(mountain_car_continuous_f64, BlockRows<MountainCarContinuous<double>>) \
  X(mountain_car_f32, BlockRows<MountainCar<float>>)                       \
  X(mountain_car_f64, BlockRows<MountainCar<double>>)                      \
  X(pendulum_f32, BlockRows<Pendulum<float>>)                              \
  X(pendulum_f64, BlockRows<Pendulum<double>>)
