"""`python -m bench` is the same program as the `lightning` command."""

from bench.cli import main

if __name__ == "__main__":
    main()
