"""Pictures: a painter per kind, which takes plain data and serves TensorBoard and the report alike.

Painters import neither torch nor Lightning, and Matplotlib only when they draw; pyplot's global state is left alone.
"""
