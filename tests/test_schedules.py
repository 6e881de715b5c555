import numpy as np
import pytest

import fastmlp
from fastmlp.schedules import learning_rates


@pytest.mark.parametrize(
    ("schedule", "want"),
    [
        (0.5, [0.5, 0.5, 0.5, 0.5]),
        (fastmlp.LinearDecay(0.8), [0.8, 0.6, 0.4, 0.2]),
        (fastmlp.LinearDecay(0.8, 0.4), [0.8, 0.7, 0.6, 0.5]),
        (fastmlp.Cosine(1.0), [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]),
        (fastmlp.Step(1.0, 1, 0.1), [1, 1, 0.1, 0.1]),
    ],
)
def test_rates_of_two_epochs_of_two_steps(schedule, want):
    got = np.concatenate([learning_rates(schedule, epoch, 2, 2) for epoch in (0, 1)])
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert got.dtype == np.float32
