"""What runs behind the walls, beside the answers. It needs nothing of this package but `exercises.probe`.

Nothing here is secret, and nothing that it says is believed: it sees the cases, never what is expected.
"""
