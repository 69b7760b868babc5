"""How a worker gets the files of a run: blobs by digest, from coordinator to cache.

An asset (a file or folder that a configuration names) is offered with the digest of its
content. A file is one blob; a folder is a manifest, itself a blob, that lists the blobs
of its files.
"""
