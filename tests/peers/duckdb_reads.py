"""Reads an exported Parquet file with DuckDB and tells what is in it, as JSON."""

import json
import sys

import duckdb

FILE = sys.argv[1]


def ask(sql):
    return duckdb.execute(sql, [FILE]).fetchall()


table = duckdb.read_parquet(FILE)
print(
    json.dumps(
        {
            "types": dict(zip(table.columns, map(str, table.types))),
            "units": [unit for (unit,) in ask("SELECT DISTINCT unit FROM read_parquet(?)")],
            "rows": dict(ask("SELECT device, count(*) FROM read_parquet(?) GROUP BY device")),
            "last": dict(
                ask("SELECT device, last(value ORDER BY observed_at) FROM read_parquet(?) GROUP BY device")
            ),
        }
    )
)
