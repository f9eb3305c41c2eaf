"""A learner's desk: the set-up, the runner of chapters, copies of them, the benchmark."""
