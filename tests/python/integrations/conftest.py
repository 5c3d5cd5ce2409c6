"""Before any test imports TorchRL: what its wheel misses of this torch."""

from metarl_core.benchmarks.drivers.autograd_stand_in import load_stand_in

load_stand_in()
