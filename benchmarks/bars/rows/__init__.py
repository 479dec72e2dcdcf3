"""The rows of the table of bars, in its order."""

from benchmarks.bars.rows import house, leaving, machines, photographs, scenes, training

ROWS = (
    *training.ROWS,
    *photographs.ROWS,
    *scenes.ROWS,
    *leaving.ROWS,
    *machines.ROWS,
    *house.ROWS,
)
