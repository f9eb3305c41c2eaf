"""For the engineer: a student at work, exported, limited, served, loaded, rolled out."""
