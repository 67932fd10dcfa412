"""Revisions of the schema, in order, as Alembic runs them. A released one is never edited: it made what exists.

A new one: `versions/vNNNN_what.py` with the next number, what it does written out (never taken from `table`, which will
have moved on), and its number added to REVISIONS in `gateway/stores/schema.py`. There is no way back: a gateway of an
older version refuses the database, so it is restored from a backup.
"""
