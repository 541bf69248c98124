"""Valid cells, broken at random, and what the values of a cell are by the plainest of readings."""
