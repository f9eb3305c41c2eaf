"""What is run from a terminal: the command line, the runner of chapters, the benchmark."""
