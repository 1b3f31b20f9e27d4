"""Published scores of CAM methods, with their sources and the settings they were computed with."""
