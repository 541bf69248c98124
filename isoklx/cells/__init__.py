"""One cell: the files of its folder, read, and simulated where there is none."""
