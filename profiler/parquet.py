"""Parquet files, read a column at a time through pyarrow, which only an extra installs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from servecast.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
INSTALL = 'pip install "servecast[aic]"'


class _Array(Protocol):
    """What is used of a pyarrow array."""

    def to_numpy(self, zero_copy_only: bool) -> NDArray[np.generic]: ...
    def to_pylist(self) -> list[object]: ...


class _DictionaryArray(Protocol):
    """What is used of a pyarrow array of codes into a list of values."""

    @property
    def indices(self) -> _Array: ...
    @property
    def dictionary(self) -> _Array: ...


class _ChunkedArray(Protocol):
    """What is used of a column."""

    def to_numpy(self) -> NDArray[np.generic]: ...
    def combine_chunks(self) -> _Column: ...


class _Column(Protocol):
    """What is used of a column in one piece."""

    def dictionary_encode(self) -> _DictionaryArray: ...


class _Table(Protocol):
    """What is used of a table."""

    def column(self, i: int) -> _ChunkedArray: ...


class _Schema(Protocol):
    """What is used of a schema."""

    @property
    def names(self) -> Sequence[str]: ...


class _File(Protocol):
    """What is used of an open file."""

    @property
    def schema_arrow(self) -> _Schema: ...
    def read(self, columns: Sequence[str], use_threads: bool) -> _Table: ...


class _Opener(Protocol):
    """The class that opens a file."""

    def __call__(self, source: Path, /) -> _File: ...


class ParquetFile:
    """One parquet file; a column is read when it is asked for, the others never are."""

    def __init__(self, path: Path) -> None:
        """Open the file: InputError where it is no parquet file, or pyarrow is not installed."""
        opener = _opener()
        try:
            self._file = opener(path)
        except (OSError, ValueError) as error:  # pyarrow's errors are one or the other
            reason = str(error).splitlines()[0]
            raise InputError(
                f"`{path}` cannot be read as parquet: {reason}",
                hint=f"install the package again: {INSTALL}",
            ) from error
        self.path = path

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._file.schema_arrow.names)

    def ints(self, column: str) -> Ints:
        """The column's integers."""
        return self._column(column).to_numpy().astype(np.int64, copy=False)

    def floats(self, column: str) -> Floats:
        """The column's numbers."""
        return self._column(column).to_numpy().astype(np.float64, copy=False)

    def names(self, column: str) -> tuple[Ints, list[str]]:
        """The column as codes into a list of its distinct values, as text."""
        encoded = self._column(column).combine_chunks().dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return codes, [str(value) for value in encoded.dictionary.to_pylist()]

    def _column(self, name: str) -> _ChunkedArray:
        if name not in self.columns:
            raise InputError(
                f"`{self.path}` has no column `{name}`\n  columns: {', '.join(self.columns)}",
                hint=f"this layout is not known; install the known one: {INSTALL}",
            )
        return self._file.read(columns=[name], use_threads=False).column(0)


def _opener() -> _Opener:
    try:
        module = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise InputError(
            "the AIConfigurator database is in parquet files, which need pyarrow", hint=INSTALL
        ) from error
    return cast("_Opener", module.ParquetFile)
