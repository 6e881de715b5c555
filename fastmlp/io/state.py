"""A model as plain data: what files hold, and what models of other libraries become."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastmlp.data.frames import FrameEncoder
from fastmlp.data.scaling import RobustScale, resolve_scale
from fastmlp.engine.parameters import Parameters


@dataclass
class ModelState:
    """All that makes up a trained network; the attributes are those of `fastmlp.MLP`."""

    parameters: Parameters
    activations: tuple[str, ...]
    loss: str
    classes: np.ndarray | None
    input_scale: Any
    has_bias: bool = True
    history: dict[str, list] = field(default_factory=dict)
    delta: float = 1.0
    feature_names: list[str] | None = None
    threads: int | None = None
    encoder: FrameEncoder | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        return self.parameters.widths

    @property
    def weights(self) -> list[np.ndarray]:
        return self.parameters.weights

    @property
    def biases(self) -> list[np.ndarray]:
        return self.parameters.biases


def offset_and_scale(state: ModelState, dtype: np.dtype) -> tuple[np.ndarray | None, Any]:
    """Return what is subtracted from input of a dtype (None: nothing), and what it is then multiplied by.

    Both are numbers or arrays (n_features,).  A RobustScale has to be applied before, as it is not linear: for it they
    are None and 1.
    """
    scale: Any = state.input_scale
    if isinstance(scale, RobustScale):
        return None, 1.0
    if hasattr(scale, "factor"):  # one for each feature
        return scale.offset, scale.factor
    if isinstance(scale, str):
        scale = resolve_scale(scale, dtype)
    return None, scale
