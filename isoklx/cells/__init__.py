"""Reading, checking and writing the files of one cell."""
