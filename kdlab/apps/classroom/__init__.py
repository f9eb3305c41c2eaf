"""For who teaches or translates: chapters run, handed out, graded, as lectures and as a book."""
