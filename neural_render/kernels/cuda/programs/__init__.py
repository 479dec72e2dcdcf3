"""What runs on the GPU, in Triton: device functions and kernels, which the modules above launch.

Triton reads their source, so their arguments bear no types but `constexpr`. What belongs together
travels in named tuples; what a tuple holds under "Constants" is known to the compiler.
"""
