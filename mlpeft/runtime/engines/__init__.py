"""The executor on engines of others, Dask and Ray, which place shards and retry."""
