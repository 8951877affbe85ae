"""`python -m console.cli`: how the console starts itself where the installed command may not be on the path."""

from console.cli.main import main

if __name__ == "__main__":
    main()
