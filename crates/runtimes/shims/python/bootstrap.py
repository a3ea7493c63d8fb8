# What starts a Python function: see _myna/loop.py.
from _myna import loop

loop.main()
