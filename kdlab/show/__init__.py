"""What a reader sees: figures, panels with sliders, checks of exercises, the guide, the sheets."""
