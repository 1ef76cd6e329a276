"""Parquet: typed columns, categories as dictionaries in the order of their levels, labels in each field's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ema_server.common.sink import Sink
from ema_server.reports.variables import Variable

_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "category": pa.dictionary(pa.int32(), pa.string()),
    "number": pa.float64(),
    "yesno": pa.bool_(),
    "whole": pa.int64(),
    "flag": pa.bool_(),
    "moment": pa.timestamp("us", tz="UTC"),
    "local": pa.timestamp("us"),
    "date": pa.date32(),
}


COMPRESSION = "zstd"
PIECE = 10_000  # rows read back at once


def schema(variables: Sequence[Variable], about: Mapping[str, str]) -> pa.Schema:
    fields = [pa.field(each.name, _TYPES[each.kind], metadata=_metadata(each)) for each in variables]
    return pa.schema(fields, metadata={f"ema.{name}": text for name, text in about.items()})


def written(
    pieces: Iterable[pd.DataFrame], variables: Sequence[Variable], *, about: Mapping[str, str]
) -> Iterator[bytes]:
    """The bytes of the file, one group of rows for each piece."""
    sink = Sink()
    shape = schema(variables, about)
    with pq.ParquetWriter(sink, shape, compression=COMPRESSION) as writer:
        for piece in pieces:
            writer.write_table(table(piece, variables, shape))
            yield sink.taken()
    yield sink.taken()


def table(piece: pd.DataFrame, variables: Sequence[Variable], shape: pa.Schema) -> pa.Table:
    return pa.table([_array(piece[each.name], each) for each in variables], schema=shape)


def _array(column: pd.Series, variable: Variable) -> pa.Array:
    if variable.kind == "category":
        values = [str(value) for value, _ in variable.levels]
        codes = pd.Categorical(column, categories=values).codes
        return pa.DictionaryArray.from_arrays(
            pa.array(codes.astype("int32"), mask=codes < 0), pa.array(values, pa.string())
        )
    if variable.kind == "date":
        return pa.array(pd.to_datetime(column, format="%Y-%m-%d"), pa.timestamp("us"), from_pandas=True).cast(
            pa.date32()
        )
    if variable.kind == "yesno":
        return pa.array(column.to_numpy() == 1, mask=column.isna().to_numpy())
    return pa.array(column, _TYPES[variable.kind], from_pandas=True)


def _metadata(variable: Variable) -> dict[str, str]:
    found = {"label": variable.label, "unit": variable.unit}
    if variable.levels:
        found["levels"] = json.dumps([[value, label] for value, label in variable.levels], ensure_ascii=False)
    return {name: text for name, text in found.items() if text}
