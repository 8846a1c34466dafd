"""Trading rules: plain functions of scalars and arrays, undecorated, bit-reproducible on every machine.

Only + - * / and sqrt, comparisons and conditionals; every division guarded; sums are plain loops in time order.
`engines.bind` compiles them; the learning loop calls the scalar ones as they stand.
"""
