"""Other frameworks at the door: each is imported by one file of this room, inside functions."""
