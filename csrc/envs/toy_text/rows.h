// The Rows of this family, X(name, Rows), with the names that EnvDefinition::kernels has.
#pragma once

#include "envs/toy_text/blackjack_rows.h"
#include "envs/toy_text/cliff_walking_rows.h"
#include "envs/toy_text/frozen_lake_rows.h"
#include "envs/toy_text/taxi_rows.h"

#define METARL_TOY_TEXT_ROWS(X)      \
  X(blackjack, BlackjackRows)        \
  X(cliff_walking, CliffWalkingRows) \
  X(frozen_lake, FrozenLakeRows)     \
  X(taxi, TaxiRows)
