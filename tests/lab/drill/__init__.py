"""The lab of the disaster drills: see README.md. Scripts that import it have tests/lab in sys.path."""
