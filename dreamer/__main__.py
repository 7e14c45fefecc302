"""``python -m dreamer``: the command line where no script is installed."""

from dreamer.cli.main import main

if __name__ == "__main__":
    main()
