"""What was learned: scores with intervals, comparisons, pictures."""
