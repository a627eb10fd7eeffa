"""A whole mammogram here and in other runtimes: same weights, same image, same cores, in turns.

The parent (`__main__`) runs in the project's environment; each peer is a process of its own, in an environment of its
own where `windows`, `worker` and one of the `*_worker` modules need NumPy and its runtime alone.
"""
