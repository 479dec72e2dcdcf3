"""The live viewer: a trained or a training field in a browser, drawn by our own renderer.

Browsers are served by threads of the library viser, which only ever leave messages. Everything is
decided and drawn by the one thread that the viewer is given, because kernels are called by one
thread at a time: that of the program which only shows, or that of training between two steps.
"""
