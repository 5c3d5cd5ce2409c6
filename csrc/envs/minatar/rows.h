// The Rows of this family, X(name, Rows), with the names that EnvDefinition::kernels has.
#pragma once

#include "envs/minatar/asterix_rows.h"
#include "envs/minatar/breakout_rows.h"
#include "envs/minatar/freeway_rows.h"
#include "envs/minatar/seaquest_rows.h"
#include "envs/minatar/space_invaders_rows.h"

#define METARL_MINATAR_ROWS(X)                     \
  X(minatar_asterix, minatar::GameRows<Asterix>)   \
  X(minatar_breakout, minatar::GameRows<Breakout>) \
  X(minatar_freeway, minatar::GameRows<Freeway>)   \
  X(minatar_seaquest, minatar::GameRows<Seaquest>) \
  X(minatar_space_invaders, minatar::GameRows<SpaceInvaders>)
