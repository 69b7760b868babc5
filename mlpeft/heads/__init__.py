"""Linear heads on fixed embeddings, fitted in milliseconds; NumPy only.

Every head ends as one weight matrix and one bias, so it is saved and exported alike.
"""
