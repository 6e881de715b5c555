"""The results of a search, in memory and in a folder from which it resumes."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.io.atomic_write import replace_file
from fastmlp.io.safetensors import read
from fastmlp.model import MLP
from fastmlp.training.identity import describe

IDENTITY, TRIALS = "search.json", "trials.jsonl"


class SearchFolder:
    """Rows of results, and the best models.

    Parameters
    ----------
    folder : path, optional
        Where they are written too, if given: ``search.json`` says which search it is, ``trials.jsonl`` has a line for
        every training run, written once it is complete, and the models are files named after their trials.
    keep : int
        Number of models.
    budget : int
        Number of trials; what the folder has of others stays there.
    """

    def __init__(self, folder: str | os.PathLike | None, keep: int, budget: int):
        self.keep, self.budget = keep, budget
        self.rows: dict[tuple[int, int], dict[str, Any]] = {}  # by trial and epochs
        self._models: dict[tuple[int, int], MLP] = {}
        self.folder = None if folder is None else Path(os.fspath(folder))
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._read(self.folder)

    def _read(self, folder: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            for line in (folder / TRIALS).read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError):  # the last line, if a crash cut it short
                    row = json.loads(line)
                    if row["trial"] < self.budget:
                        self.rows[row["trial"], row["epochs"]] = row
        for key in list(self.rows):
            with contextlib.suppress(OSError, ValueError):
                self._models[key] = MLP.from_state(read(self._path(folder, key))[0])
        for key in self._ranked()[: self.keep]:
            if key not in self._models and self.rows[key]["error"] is None:
                del self.rows[key]  # its model is damaged, or was not to be kept: it is trained again

    def check(self, search: Mapping[str, Any]) -> None:
        """Raise an error if the folder has the results of another search."""
        if self.folder is None:
            return
        ours = json.loads(json.dumps({name: describe(value) for name, value in search.items()}))
        path = self.folder / IDENTITY
        if not path.exists():
            replace_file(path, json.dumps(ours).encode())
            return
        try:
            found = dict(json.loads(path.read_text(encoding="utf-8")))
        except (TypeError, ValueError):
            raise ValueError(f"{os.fspath(path)!r} is damaged; take another folder, or remove this one") from None
        for name, value in ours.items():
            if found.get(name) != value:
                raise ValueError(
                    f"folder {os.fspath(self.folder)!r} holds a search with another {name}; take another folder, or "
                    "remove it"
                )

    def has(self, trial: int, epochs: int) -> bool:
        """Return whether this training run is complete."""
        return (trial, epochs) in self.rows

    def add(self, row: dict[str, Any], model: MLP | None) -> None:
        """Record a training run."""
        key = row["trial"], row["epochs"]
        row = {name: _plain(value) for name, value in row.items()}
        self.rows[key] = row
        if model is not None:
            self._models[key] = model
        dropped = sorted(self._models, key=self._rank)[self.keep :]
        for each in dropped:
            del self._models[each]
        if self.folder is None:
            return
        if key in self._models:
            self._models[key].save(self._path(self.folder, key))
        with open(self.folder / TRIALS, "a", encoding="utf-8") as file:
            file.write("\n" if self._is_cut(self.folder) else "")
            file.write(json.dumps(row) + "\n")
        for each in dropped:
            with contextlib.suppress(OSError):
                self._path(self.folder, each).unlink()

    @staticmethod
    def _is_cut(folder: Path) -> bool:
        """Return whether the last line has no end."""
        path = folder / TRIALS
        if path.stat().st_size == 0:
            return False
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"

    @staticmethod
    def _path(folder: Path, key: tuple[int, int]) -> Path:
        return folder / f"trial-{key[0]:05d}-epochs-{key[1]}.safetensors"

    def _rank(self, key: tuple[int, int]) -> tuple[float, int, int]:
        """Return what training runs are sorted by: the best first; of equal ones the earlier one."""
        score = self.rows[key]["score"]
        return -score if score is not None and not math.isnan(score) else math.inf, *key

    def ranked(self, trials: Iterable[int], epochs: int) -> list[int]:
        """Return trials, which were trained for so many epochs, the best first."""
        return [trial for trial, _ in sorted(((trial, epochs) for trial in trials), key=self._rank)]

    def _ranked(self) -> list[tuple[int, int]]:
        return sorted(self.rows, key=self._rank)

    def table(self) -> list[dict[str, Any]]:
        """Return all rows, best first."""
        return [self.rows[key] for key in self._ranked()]

    def models(self) -> list[MLP]:
        """Return the models that are kept, best first."""
        return [self._models[key] for key in self._ranked() if key in self._models][: self.keep]


def _plain(value: Any) -> Any:
    """Return a value as JSON types; objects, such as optimizers, as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)
