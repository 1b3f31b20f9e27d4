"""Metrics of explanations: what each needs, and how it scores."""
