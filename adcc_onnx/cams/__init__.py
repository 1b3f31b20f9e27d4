"""CAM methods, one file per family: what each reads from the model, and how it makes a map."""
