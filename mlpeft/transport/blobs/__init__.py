"""How a worker gets the files of a run: blobs by digest, from coordinator to cache."""
