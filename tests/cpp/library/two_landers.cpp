#include "two_landers.h"

METARL_ENVIRONMENTS(two_landers::EmulatedLander, two_landers::Drifter)
