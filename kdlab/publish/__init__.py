"""The course for others: lectures as slides, handouts, and scores of what comes back."""
