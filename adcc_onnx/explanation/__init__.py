"""Runs methods on a model: model inputs, contexts of methods and metrics, maps, ready-made maps."""
