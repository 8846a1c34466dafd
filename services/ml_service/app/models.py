"""The service's models: files loaded once, the `current` links, and what is deleted."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from mei.learning.regime_model import RegimeModel
from mei.learning.registry import (
    SavedModel,
    load_model,
    point_current,
    remove_leftovers,
    remove_model,
    save_model,
    series_path,
)
from mei.ledger.database import Ledger
from mei.ledger.models import (
    ModelRow,
    archive_model,
    champion_as_of,
    model,
    models_of,
    prunable_models,
)
from mei.ledger.series import SeriesKey
from mei.model.errors import NotFoundError

#: Loaded models kept (a few hundred bytes each).
MAX_LOADED = 256

_FOREVER_MS = 2**62


class ModelShelf:
    """Models below `root`, as the ledger knows them. Thread-safe."""

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self._root = root
        self._ledger = ledger
        self._loaded: OrderedDict[tuple[str, int], RegimeModel] = OrderedDict()
        self._repaired: set[SeriesKey] = set()
        self._lock = threading.Lock()
        remove_leftovers(root)

    def save(self, key: SeriesKey, fitted: RegimeModel) -> SavedModel:
        """Write a candidate's files, before the ledger speaks of them."""
        return save_model(self._root, series_path(*key), fitted)

    def load(self, row: ModelRow) -> RegimeModel:
        """The model of a ledger row, verified; loaded once. Raises LedgerError."""
        name = (row.key.stream, row.version)
        with self._lock:
            known = self._loaded.get(name)
        if known is not None:
            return known
        fitted = load_model(self._root, SavedModel(row.path, row.sha256))
        with self._lock:
            self._loaded[name] = fitted
            if len(self._loaded) > MAX_LOADED:
                self._loaded.popitem(last=False)
        return fitted

    def version(self, stream: str, version: int) -> RegimeModel:
        """A model by number. Raises NotFoundError, LedgerError."""
        with self._lock:
            known = self._loaded.get((stream, version))
        if known is not None:
            return known
        with self._ledger.reader() as conn:
            row = model(conn, stream, version)
        if row is None:
            raise NotFoundError(
                f"stream {stream!r} has no model version {version}; see GET /models"
            )
        return self.load(row)

    def follow(self, key: SeriesKey) -> None:
        """Make the series' `current` link name its champion."""
        path = self._champion_path(key)
        while True:
            point_current(self._root, path, series_path(*key))
            # Whoever decided meanwhile may have been faster with the link: the last one to set it has looked again.
            before, path = path, self._champion_path(key)
            if path == before:
                break
        self._repaired.add(key)

    def _champion_path(self, key: SeriesKey) -> str | None:
        with self._ledger.reader() as conn:
            champion = champion_as_of(conn, key, _FOREVER_MS)
        return None if champion is None else champion.path

    def follow_once(self, key: SeriesKey) -> None:
        """Repair what an earlier incarnation may have left undone, the first time the series is touched."""
        if key in self._repaired:
            return
        self.follow(key)
        self._remove_archived(key)

    def prune(self, key: SeriesKey, *, keep_n: int, as_of_ms: int) -> list[int]:
        """Archive and delete the models that nothing can need again; returns their versions."""
        with self._ledger.reader() as conn:
            idle = not prunable_models(conn, key, keep_n=keep_n, as_of_ms=as_of_ms)
        if idle:
            return []
        with self._ledger.unit_of_work() as unit:
            rows = prunable_models(unit.connection, key, keep_n=keep_n, as_of_ms=as_of_ms)
            for row in rows:
                archive_model(unit.connection, key.stream, row.version)
            unit.commit("archive")
        for row in rows:
            remove_model(self._root, row.path)
        return [row.version for row in rows]

    def _remove_archived(self, key: SeriesKey) -> None:
        with self._ledger.reader() as conn:
            rows = models_of(conn, key)
        for row in rows:
            if row.decision == "archived":
                remove_model(self._root, row.path)
