"""The course for others: handouts of the chapters, and scores of what comes back."""
