"""Touches the world: files, pipes, the screen. Dumb, small, replaceable."""
