"""`python -m servecast` is the command line."""

from servecast.cli import main

main()
