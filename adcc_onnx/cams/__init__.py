"""Class activation mapping methods: what each needs to see, and how it weighs it."""
