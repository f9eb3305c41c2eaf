"""A student at work: exported, limited, served, loaded, rolled out (chapter 04)."""
