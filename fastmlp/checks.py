"""Check the arguments of public functions, and return them in their final types."""

from __future__ import annotations

import numbers

import numpy as np


def describe(value) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    return repr(value)


def shorten(values: np.ndarray | list) -> str:
    shown = ", ".join(repr(v) for v in np.asarray(values)[:5].tolist())
    return f"[{shown}, ...]" if len(values) > 5 else f"[{shown}]"


def check_integer(value, name: str, minimum: int) -> int:
    """`value` as an int of at least `minimum`."""
    wanted = f"{name} must be an integer of at least {minimum}, got {value!r}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(wanted)
    if value < minimum:
        raise ValueError(wanted)
    return int(value)


_LARGEST = float(np.finfo(np.float32).max)  # kernels compute in float32

_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def _check_real(value, wanted: str, least: float, most: float) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{wanted}, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an int too large for any float
        number = float("nan")
    if not least <= number <= most:
        raise ValueError(f"{wanted}, got {value!r}")
    return number


def check_positive(value, name: str) -> float:
    """`value` as a finite float greater than 0."""
    return _check_real(value, f"{name} must be a finite number greater than 0", _SMALLEST, _LARGEST)


def check_number(value, name: str) -> float:
    """`value` as a finite float of at least 0."""
    return _check_real(value, f"{name} must be a finite number of at least 0", 0.0, _LARGEST)


def check_share(value, name: str) -> float:
    """`value` as a float of at least 0 and less than 1, in float32 too."""
    wanted = f"{name} must be a number of at least 0 and less than 1"
    number = _check_real(value, wanted, 0.0, float(np.nextafter(1.0, 0.0)))
    if np.float32(number) == 1:
        raise ValueError(f"{wanted}, got {value!r}, which is 1 in float32")
    return number


def check_choice(value, name: str, choices) -> None:
    """`value` is one of `choices`."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def check_hidden(hidden, name: str = "hidden") -> tuple[int, ...]:
    """Widths of hidden layers; one number stands for one layer."""
    if isinstance(hidden, numbers.Integral) and not isinstance(hidden, bool):
        hidden = (hidden,)
    try:
        widths = tuple(hidden)
    except TypeError:
        raise TypeError(f"{name} must be a sequence of widths, like (128,), got {hidden!r}") from None
    return tuple(check_integer(width, f"{name}: every width", 1) for width in widths)


def check_activations(activation, n_hidden: int, known) -> list[str]:
    """The activation of every hidden layer."""
    try:
        names = [activation] * n_hidden if isinstance(activation, str) else list(activation)
    except TypeError:
        raise TypeError(f"activation must be one name, or one per hidden layer, got {activation!r}") from None
    if isinstance(activation, str):
        check_choice(activation, "activation", known)
    for name in names:
        check_choice(name, "activation", known)
    if len(names) != n_hidden:
        raise ValueError(f"activation must be one name, or one per hidden layer ({n_hidden}), got {activation!r}")
    return names


def check_field(owner, name, minimum=0.0, exclusive=False):
    """A number that a schedule, or an optimizer, has under a name."""
    value = getattr(owner, name)
    bound = f"greater than {minimum:g}" if exclusive else f"at least {minimum:g}"
    wanted = f"{type(owner).__name__}: {name} must be a finite number {bound}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(wanted)
    if not abs(value) <= _LARGEST or value < minimum or (exclusive and value == minimum):
        raise ValueError(wanted)
