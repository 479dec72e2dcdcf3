"""Small frozen records and the interfaces between floors: rays, cameras, frames, colour, errors."""
