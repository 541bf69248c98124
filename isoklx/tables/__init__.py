"""Tables of a sweep, their captions and formats."""
