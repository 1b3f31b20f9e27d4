"""Evaluation on a cluster: everything that knows Ray."""
