"""The manifest: which bars exist, who trains on them, what was trained, what serves, and what came of it.

Open it with `mei.ledger.database.Ledger.open`; the other modules are functions of a Connection. See DESIGN.md.
"""
