"""Tables as Arrow, DuckDB and pandas: reading, column contracts, snapshots, previews."""

from storekit.frames import accessor as accessor  # registers df.storekit
