"""The course for others: slides, handouts, scores of what comes back, and the open book."""
