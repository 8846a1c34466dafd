"""From a sweep to the paper trader and on: sweep, validate, choose, deploy to paper, watch, promote or roll back.

Each step is written down when it is done, so that a run goes on where it was stopped (specification part 3, section 8,
factory_cycle).
"""
