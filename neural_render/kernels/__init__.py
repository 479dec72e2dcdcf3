"""The numeric core: one door (``ops``), several backends behind it.

``specs`` describes what is computed, ``ops`` computes it, ``dispatch`` chooses who does.
"""
