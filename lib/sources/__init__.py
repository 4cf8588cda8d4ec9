"""Where deliveries come from, and how their records are read: one module each.

Offered: `files` (a file, a folder, a pattern) and `query` (of a database, kept as Parquet). Read: `csv`, `ndjson` and
`parquet`, behind one interface (interface.py); `choose` picks the one that a delivery is written in.
"""
