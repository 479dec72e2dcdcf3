"""The scene as a function: encodings and networks; owns the scene's parameters."""

from neural_render.fields.radiance import RadianceField
from neural_render.fields.settings import FieldSettings, GridSettings, field_spec

__all__ = ["FieldSettings", "GridSettings", "RadianceField", "field_spec"]
