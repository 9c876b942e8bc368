"""Writes the same three detections as every Parquet writer of Python does by default, and in its other forms."""

import sys

ROWS = [
    {"id": "001", "manifest_path": "m/a.yaml", "manifest_yaml": "kind: Pod\nx: \u952e\n", "policy_id": "latest-tag",
     "violation_text": "image \"a\""},
    {"id": "002", "manifest_path": None, "manifest_yaml": "kind: Pod\n", "policy_id": "latest-tag",
     "violation_text": None},
    {"id": "003", "manifest_path": "m/c.yaml", "manifest_yaml": None, "policy_id": "privileged-container",
     "violation_text": ""},
]
COLUMNS = list(ROWS[0])
folder = sys.argv[1]


def pyarrow():
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(ROWS)
    for codec in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
        for version in ["1.0", "2.0"]:
            path = f"{folder}/pyarrow-{codec}-{version}.parquet"
            pq.write_table(table, path, compression=codec, data_page_version=version)
    for name, kind in [("large", pa.large_string()), ("view", pa.string_view()), ("binary", pa.binary())]:
        cast = table.cast(pa.schema([(column, kind) for column in COLUMNS]))
        pq.write_table(cast, f"{folder}/pyarrow-{name}.parquet")
    place = COLUMNS.index("policy_id")
    encoded = table["policy_id"].dictionary_encode()
    pq.write_table(table.set_column(place, "policy_id", encoded), f"{folder}/pyarrow-dictionary.parquet")
    pq.write_table(table, f"{folder}/pyarrow-plain.parquet", use_dictionary=False)
    more = table.append_column("score", pa.array([1.5, 2.5, None])).append_column("tags", pa.array([["a"], [], None]))
    pq.write_table(more, f"{folder}/pyarrow-more.parquet")
    numbered = table.set_column(0, "id", pa.array([1, 2, 3]))
    pq.write_table(numbered, f"{folder}/pyarrow-numbers.parquet")


def pandas():
    import pandas as pd

    frame = pd.DataFrame(ROWS)
    frame.to_parquet(f"{folder}/pandas.parquet")
    frame.astype({"policy_id": "category"}).to_parquet(f"{folder}/pandas-category.parquet")
    frame.set_index("id").reset_index().to_parquet(f"{folder}/pandas-index.parquet")
    frame.assign(id=[1, 2, 3]).to_parquet(f"{folder}/pandas-numbers.parquet")
    frame.assign(id=[1.0, 2.0, 3.0]).to_parquet(f"{folder}/pandas-floats.parquet")


def polars():
    import polars as pl

    frame = pl.DataFrame(ROWS)
    for codec in ["uncompressed", "snappy", "gzip", "brotli", "lz4", "zstd"]:
        frame.write_parquet(f"{folder}/polars-{codec}.parquet", compression=codec)
    frame.with_columns(pl.col("policy_id").cast(pl.Categorical)).write_parquet(f"{folder}/polars-category.parquet")
    frame.with_columns(pl.Series("id", [1, 2, 3])).write_parquet(f"{folder}/polars-numbers.parquet")


def duckdb():
    import duckdb

    connection = duckdb.connect()
    connection.sql("create table d (" + ", ".join(f"{column} varchar" for column in COLUMNS) + ")")
    connection.executemany("insert into d values (?, ?, ?, ?, ?)", [[row[column] for column in COLUMNS] for row in ROWS])
    for codec in ["uncompressed", "snappy", "gzip", "brotli", "lz4_raw", "zstd"]:
        for version in ["v1", "v2"]:
            path = f"{folder}/duckdb-{codec}-{version}.parquet"
            connection.sql(f"copy d to '{path}' (format parquet, compression {codec}, parquet_version {version})")
    kind = "create type policy as enum ('latest-tag', 'privileged-container')"
    connection.sql(kind)
    columns = "* replace (policy_id::policy as policy_id, id::bigint as id)"
    connection.sql(f"copy (select {columns} from d) to '{folder}/duckdb-enum-numbers.parquet' (format parquet)")


for write in [pyarrow, pandas, polars, duckdb]:
    try:
        write()
    except ImportError as missing:
        print(missing)
