"""Pictures of Gaussian splats and their gradients: the door (``ops``) and what goes through it.

``kernels.reference.splats`` is the definition, ``kernels.cpu.splats`` leads to the C++; the other
backends have the reference's.
"""
