"""An LLM routing gateway: one OpenAI-compatible endpoint, the cheapest good answer, every dollar booked.

The map of the house, lowest floor first (an upper floor may import a lower one, never the reverse):

    core        values and decisions: no socket, clock, dice or log
    policies    one file for each way to order candidates; the list is in its __init__
    dialects    one file for each provider wire; the list is in its __init__
    pricebook   dated prices and models, one YAML file for each provider; two public catalogues to hold them against
    config      routes.yaml and the price book -> one frozen World, every mistake with its line
    stores      Redis (response cache), SQL (ledger), the embedded Valkey server
    proxy       the hot path: one chat request from first byte to booked record
    admin       FastAPI: models, spend, explain, health, metrics
    simulator   providers that speak the real wires and keep their own bill
    app         the composition root: the one file that knows every part
    cli         serve | check | explain | spend | demo | ...
"""
