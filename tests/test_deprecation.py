import inspect

import pytest

import fastmlp
from fastmlp.callbacks import EarlyStopping

RENAMED = [
    (fastmlp.OneCycle, {"max_lr": 0.1}, "peak", "max_lr", 0.2),
    (fastmlp.OneCycle, {"max_lr": 0.1}, "rising", "pct_start", 0.2),
    (fastmlp.OneCycle, {"max_lr": 0.1}, "divide", "div_factor", 5.0),
    (fastmlp.OneCycle, {"max_lr": 0.1}, "divide_end", "final_div_factor", 50.0),
    (fastmlp.Warmup, {}, "then", "schedule", 0.2),
    (fastmlp.ReduceOnPlateau, {"start": 0.1}, "smallest", "min_lr", 0.01),
    (EarlyStopping, {}, "rises", "higher_is_better", True),
]


@pytest.mark.parametrize(("cls", "arguments", "old", "new", "value"), RENAMED)
def test_old_names_work_and_warn(cls, arguments, old, new, value):
    others = {name: each for name, each in arguments.items() if name != new}
    with pytest.warns(DeprecationWarning, match=f"{cls.__name__}: {old} is now called {new}") as caught:
        made = cls(**others, **{old: value})
    assert [warning.filename for warning in caught] == [__file__]
    assert vars(made) == vars(cls(**others, **{new: value}))
    with pytest.warns(DeprecationWarning, match=f"{old} is now called {new}"):
        assert getattr(made, old) == value
    assert old not in inspect.signature(cls).parameters
    assert new in inspect.signature(cls).parameters


def test_an_attribute_can_be_assigned_under_its_old_name():
    stopping = EarlyStopping()
    with pytest.warns(DeprecationWarning, match="rises is now called higher_is_better"):
        stopping.rises = True
    assert stopping.higher_is_better is True


@pytest.mark.parametrize(("cls", "arguments", "old", "new", "value"), RENAMED)
def test_both_names_at_once_are_refused(cls, arguments, old, new, value):
    with pytest.raises(TypeError, match=f"{cls.__name__}: {old} is the old name of {new}"):
        cls(**{**arguments, old: value, new: value})
