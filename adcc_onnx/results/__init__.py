"""Results of evaluations: the SQLite store, and the scores, rankings and comparisons."""
