"""Tests of engines. Those inside/ need Spark in their own process: test_spark.py runs them where it is."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("pyspark") else ["inside"]
