"""What the command line carries out besides: the runner of chapters, the benchmark."""
