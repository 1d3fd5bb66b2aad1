"""Kernels of decoding: plain functions over integers and flat arrays (rules: `pcaptool.engine`).

codes       numbers of layers, errors, cursor fields and row fields
names       few distinct keys to small numbers
links       link layers and what is like them: VLAN, MPLS, PPP
network     ARP, IPv4, IPv6
tunnels     GRE, VXLAN and the like
transport   TCP, UDP, and what stands on them
chain       from header to header of each packet; writes one row a header for the following
fields_*    the columns of one table from those rows
"""
