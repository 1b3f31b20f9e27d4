"""Where images come from: folders, lists, tar, Parquet, npz, arrays in memory, drawings."""
