"""What people look at: terminal renderings of the tables.

Knows: layout. Must not know: how a value was found, or where output goes; it computes nothing but sums and
orders for an overview. All captured text is escaped (`errors.printable`) and no markup in it is obeyed.
Every function takes polars frames and returns a rich renderable.
"""
