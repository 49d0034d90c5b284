"""The verbs, one file for one or two of them; each imports what it needs when it runs."""
