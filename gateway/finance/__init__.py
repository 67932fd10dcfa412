"""What finance takes away and brings back: FOCUS rows of the ledger, and invoices to compare it with.

Pure: records and lines of a file come in, rows and findings go out. Reading the ledger and writing files is the
stores' business. Every amount is an integer (nano- or pico-dollars) until it is shown as decimal text.
"""
