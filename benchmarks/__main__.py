"""`make bench`: see compare.py."""

from benchmarks.compare import main

main()
