"""Mitsuba's XML, version 3, and older versions mended first."""
