"""An LLM routing gateway: one OpenAI-compatible endpoint, the cheapest good answer, every dollar booked.

The map of the house, lowest floor first (an upper floor may import a lower one, never the reverse):

    core        values and decisions: no socket, clock, dice or log
    policies    one file for each way to order candidates; the list is in its __init__
    dialects    one file for each provider wire; the list is in its __init__
    kinds       which kind of task a prompt is: features, linear heads, and the trained file that ships
    vectors     vectors of texts: made small, signed, compared
    pricebook   dated prices and models, one YAML file for each provider; two public catalogues to hold them against
    finance     FOCUS rows of the ledger; invoices read and compared with it
    config      routes.yaml and the price book -> one frozen World, every mistake with its line
    stores      Redis (accounts, response cache), SQL (ledger, API keys, what was learned), the embedded Valkey server
    proxy       the hot path: one chat request from first byte to booked record
    admin       FastAPI: models, spend, explain, feedback, keys, health, metrics
    simulator   providers that speak the real wires and keep their own bill
    keyring     API keys made, listed, revoked and rotated, for the command line and the admin API
    cachekeeping, cacheinspect, cacheadmin
                the response cache counted, purged and asked about a request, by the command line and the admin API
    tasks       what kind of task a request is, where the configuration in force asks for it
    past        decisions of the past, made again under the configuration of then, which is kept for it
    settings    where to listen, where the data are, which keys there are
    shared      what all workers of a machine share: the checks, the stores, the simulator
    banner      what the gateway says of itself at its start
    simulated   the simulator in the place of providers that have no key
    inforce     the configuration in force in one process, and its one swap
    reloading   what came of a reload, as the admin API tells it
    accounting  the money side of one worker: accounts, ledger writer, upkeep
    app         the composition root: the one file that knows every part
    server      HTTP: serving a started gateway, and leaving without failing a request
    workers     several processes behind one port, and the supervisor that keeps them running
    cli         serve | check | explain | prices | spend | export | reconcile | ledger | keys | demo | ...
"""
