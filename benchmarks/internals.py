"""The modules, classes and constants inside of fastmlp that benchmarks use, under the newest commit's names.

They are looked up when they are imported from here, and found in older commits too, where modules lay elsewhere and had
members of other names.  What a commit lacks is an ImportError or an AttributeError of that name.
"""

from __future__ import annotations

import importlib

# Where a module is: the newest place last if an older place of that name held something else, else first.
_PLACES = {
    **{
        name: (f"fastmlp.kernels.{package}.{name}", f"fastmlp.kernels.{name}")
        for package, names in {
            "ops": ("activations", "dense", "dropout", "gather", "losses", "optimizers", "rows"),
            "simd": ("packing", "processors"),
            "step": ("average", "epoch", "input_scale", "network", "penalties", "record", "regions"),
        }.items()
        for name in names
    },
    "grouped": ("fastmlp.kernels.ops.grouped", "fastmlp.kernels.ops.sparse", "fastmlp.kernels.sparse"),
    "sparse": ("fastmlp.kernels.ops.nonzeros", "fastmlp.kernels.nonzeros", "fastmlp.kernels.ops.sparse"),
    "jit": ("fastmlp.kernels.jit",),
    "workspace": ("fastmlp.engine.workspace", "fastmlp.workspace"),
    "executor": ("fastmlp.engine.executor", "fastmlp.run"),
    "parameters": ("fastmlp.engine.parameters", "fastmlp.parameters"),
    "encoding": ("fastmlp.data.encoding", "fastmlp.inputs"),
    "public_losses": ("fastmlp.losses",),
    "reference": ("fastmlp.reference",),
}
# What members were called before.
_OLDER = {
    "dense": {"no_prefetch": "nothing_ahead"},
    "grouped": {
        "count_strips": "sparse_strips", "grouped_add": "sparse_add", "grouped_update": "sparse_update",
        "make_lists_from_words": "place_words", "GroupPrefetch": "Wanted",
    },
    "sparse": {
        "sparse_forward": "nonzeros_forward", "sparse_update": "nonzeros_update",
        "sparse_update_row": "nonzeros_update_row",
    },
    "losses": {"elementwise": "by_elements"},
    "penalties": {"penalize": "penalise"},
    "regions": {
        "dense_first_forward": "tiles_ahead", "dense_first_update": "tiles_update", "row_forward": "row_ahead",
        "row_backward": "row_back", "inner_forward": "inner_ahead", "grouped_first_forward": "groups_ahead",
        "grouped_first_update": "groups_update", "sparse_first_forward": "nonzeros_ahead",
        "sparse_first_update": "nonzeros_update",
    },
    "workspace": {"lists_for": "sparse_lists"},
    "executor": {"Executor": "Run"},
    "reference": {"initialize": "initialise"},
}  # fmt: skip
# Members that are imported by themselves, and their modules.
_MEMBERS = {
    "ADAM": "optimizers", "PLAIN": "optimizers", "Rule": "optimizers",
    "SIGMOID": "activations", "TANH": "activations",
    "NARROW": "processors",
    "Executor": "executor",
    "coded_rows": "encoding", "coded_words": "encoding", "rows_of": "encoding",
    "initial_parameters": "parameters",
    "initialize": "reference",
}  # fmt: skip


class Module:
    """A module of fastmlp.  Members are kept, so that a commit's older names take no time in what is measured."""

    def __init__(self, name: str):
        self._older, self._module = _OLDER.get(name, {}), _import(name)

    def __getattr__(self, name: str):
        try:
            member = getattr(self._module, name)
        except AttributeError:
            if name not in self._older:
                raise
            member = getattr(self._module, self._older[name])
        setattr(self, name, member)
        return member


def _import(name: str):
    for place in _PLACES[name]:
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if not place.startswith(error.name or " "):
                raise  # of something else
    raise ImportError(f"this version of fastmlp has no {name} that the benchmarks know")


def __getattr__(name: str):
    if name in _PLACES:
        return Module(name)
    if name in _MEMBERS:
        return getattr(Module(_MEMBERS[name]), name)
    raise AttributeError(name)


def layout_of(network):
    """Return where things lie in a network's workspace."""
    return network.layout if hasattr(network, "layout") else network.places


def bias_of(network) -> int:
    """Return where the first layer's bias starts in a network's parameters."""
    if network.layers.dtype.names:
        return int(network.layers["bias"][0])
    return int(network.layers[Module("network").BIAS])  # before a layer was a record


def strip_ranges(grouped, out, batch_size: int) -> list[tuple[int, ...]]:
    """Return what the grouped kernels are given for an output's strips, call by call: the first one and the last one's
    end, or in earlier versions one strip.
    """
    strips = grouped.count_strips(out)
    try:
        at_once = grouped.strips_at_once(batch_size, 1)
    except AttributeError:
        return [(strip,) for strip in range(strips)]
    return [(first, min(first + at_once, strips)) for first in range(0, strips, at_once)]


def loss_codes() -> dict[str, int]:
    """Return the codes of the losses."""
    try:
        return Module("public_losses").CODES
    except AttributeError:
        return Module("losses").LOSSES
