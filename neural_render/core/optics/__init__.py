"""How films are exposed: lenses, sub-frames, two eyes, pictures of all that is around."""
