"""What PyTorch has no module for; imports PyTorch, and is imported by `fastmlp.io.torch` alone."""

from torch import Tensor, nn


class RobustScale(nn.Module):
    """Scale and clip the input smoothly, in float64, as a model with ``input_scale="robust"`` does.

    Parameters
    ----------
    offset, factor : Tensor (n_features,) of float64
    """

    offset: Tensor
    factor: Tensor

    def __init__(self, offset: Tensor, factor: Tensor):
        super().__init__()
        self.register_buffer("offset", offset)
        self.register_buffer("factor", factor)

    def forward(self, x: Tensor) -> Tensor:
        z = (x.double() - self.offset) * self.factor
        return (z / (1 + (z / 3) ** 2).sqrt()).float()


class Exp(nn.Module):
    """exp(z), the output of a model that was trained with the loss "poisson"."""

    def forward(self, z: Tensor) -> Tensor:
        return z.exp()
