"""Virtual time: clock, event queue, processes, processors, links, seeded randomness.

Knows: when things happen, and in which order.
Must not know: packets' contents, protocols, files, the real clock.
"""
