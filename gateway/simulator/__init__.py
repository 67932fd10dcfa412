"""Providers that speak their real wires on one loopback port, and keep their own bill.

For the demo, the tests and the benches, and for the gateway itself while no provider key is set. It imports nothing of
the gateway, on purpose: its tokens, prices and sums are worked out apart, so that ledger == bill means something.

    scenario    what a request meets: pace, size, fault; and the rules a request may carry
    server      the HTTP server and one attempt's life: ask -> answers -> delivery -> bill
    embeddings  vectors of texts
    wires       one file for each provider's wire
    bill        what is billed, as sentences and as code
    prices      what the providers charge, given as plain data
"""

from gateway.simulator.bill import BillLine, Tokens, Total
from gateway.simulator.prices import SAMPLE_PRICES, PriceData, PriceRule, Rates, Sale
from gateway.simulator.scenario import FAULTS, PROVIDERS, Scenario
from gateway.simulator.server import Simulator

__all__ = [
    "FAULTS",
    "PROVIDERS",
    "SAMPLE_PRICES",
    "BillLine",
    "PriceData",
    "PriceRule",
    "Rates",
    "Sale",
    "Scenario",
    "Simulator",
    "Tokens",
    "Total",
]
