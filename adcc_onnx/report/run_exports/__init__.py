"""Runs in the formats of other tools: Parquet, MLflow, FiftyOne and model cards."""
