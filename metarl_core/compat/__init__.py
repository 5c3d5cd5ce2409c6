"""Our replay under the call signatures of other libraries: ``compat.baselines`` and ``compat.cpprb``.

Neither library is imported, and NumPy is all that is needed. docs/migration.md tells what differs.
"""
