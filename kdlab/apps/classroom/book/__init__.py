"""For readers: the course as a static site in both languages, from its committed outputs."""
