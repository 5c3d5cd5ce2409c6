#include "windy_lander.h"

METARL_ENVIRONMENTS(windy_lander::WindyLander)
