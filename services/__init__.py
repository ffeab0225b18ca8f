"""The four services. None imports another."""

import gc

# Importing makes a million objects that all stay: looking through them for garbage costs every start a tenth of its
# time. ``shared.runtime`` sets them aside and turns the collector on again.
gc.disable()
