"""Inner loops, outer steps, and the learners made of them."""
