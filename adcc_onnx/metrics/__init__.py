"""Metrics of explanations, one file per family: what each reads, and how it scores a map."""
