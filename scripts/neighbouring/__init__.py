"""Real neighbours of Cardveil, one module for a kind (`scripts/neighbours.py`)."""
