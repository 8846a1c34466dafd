"""Words shared by everything: errors, dtypes, frozen settings, HTTP bodies. No I/O, no JIT."""
