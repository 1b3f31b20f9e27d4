"""Studies of metrics, methods and speed: metric validation, model randomization, throughput."""
