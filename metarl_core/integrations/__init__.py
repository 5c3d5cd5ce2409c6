"""Our replay and environments inside other libraries, one folder each, which imports the library."""
