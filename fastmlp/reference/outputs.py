"""What trained models make of their last layer's sums."""

from __future__ import annotations

import numpy as np


def softmax(logits):
    """Return exp(logits) divided by its sum, row by row."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(logits):
    """Return 1 / (1 + exp(-logits))."""
    return 1 / (1 + np.exp(-logits))
