"""What the tests of sampling hold the buffers against."""

import numpy as np

MODES = ["stratified", "iid", "uniform", "without_replacement"]
NORMALIZATIONS = ["max", "batch_max", "sum", "none"]


def chi_square_z(counts, expected):
    """Chi-square statistic in standard deviations of its distribution (approximately normal for these sizes)."""
    df = len(expected) - 1
    statistic = float(((counts - expected) ** 2 / expected).sum())
    print(f"chi-square {statistic:.1f}, {df} degrees of freedom")
    return (statistic - df) / np.sqrt(2 * df)


def oracle_weights(probabilities, smallest, size, beta, normalization):
    raw = (size * probabilities) ** -beta
    if normalization == "max":
        return raw / (size * smallest) ** -beta
    if normalization == "batch_max":
        return raw / raw.max()
    if normalization == "sum":
        return raw / raw.sum()
    return raw
