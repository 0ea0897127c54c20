"""Images that need no network, and points in the plane."""
