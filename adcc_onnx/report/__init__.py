"""Rendering of results as text, CSV, JSON, LaTeX, HTML and overlay images; computes nothing."""
