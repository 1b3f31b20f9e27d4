"""Broken and hostile models, made from a valid one; one module per kind of defect."""
