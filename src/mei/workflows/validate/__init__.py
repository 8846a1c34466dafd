"""Whether a result is more than luck: the same strategy on other times, at other costs, with other settings; the same
trades in another order; and what a result hangs on. One module a kind (specification part 3, section 8).
"""
