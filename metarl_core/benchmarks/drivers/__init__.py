"""One driver per library that is measured, and the worker process that runs it.

A driver runs in the library's own virtual environment, where metarl_core is not installed: nothing in this package
imports the rest of metarl_core (except ``ours_*``), and each library is imported only by its own driver.
"""
