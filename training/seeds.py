"""What runs with several seeds say together."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def interval(figures: Sequence[float], times: int = 100) -> str:
    """Mean ± half the 95 % interval of the mean over seeds (Student's t), for people.

    Args:
        figures: one of each run; of a single run there is no interval.
        times: what figures are multiplied by: 100 gives percent with two digits, 1 four digits.
    """
    values, digits = times * np.array(figures), 2 if times > 1 else 4
    if len(values) < 2:
        return f"{values.mean():.{digits}f}"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.{digits}f} ± {half:.{digits}f}"
