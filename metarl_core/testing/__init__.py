"""Checks that two environments are the same, and that a vector environment keeps its promises.

For the environments of this package and for your own: give :func:`compare_steps` one object per row that runs the
package, script or equations that define the environment (:class:`Reference`), and it copies their states into the
vector environment before every step, steps both, and returns the largest difference (:class:`Comparison`).
"""

from metarl_core.testing.comparison import Comparison
from metarl_core.testing.divergence import Divergence, free_running_divergence
from metarl_core.testing.promises import check_vector_env
from metarl_core.testing.references import GymnasiumReference, RecordingGenerator, Reference
from metarl_core.testing.stepwise import compare_steps

__all__ = [
    "Comparison",
    "Divergence",
    "GymnasiumReference",
    "RecordingGenerator",
    "Reference",
    "check_vector_env",
    "compare_steps",
    "free_running_divergence",
]
