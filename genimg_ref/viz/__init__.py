"""Pictures and plots; functions return figures, axes or HTML and never show them."""
