"""The graphs that are built from a classifier; each module builds one kind of graph."""
