"""Kernels compiled by Numba.  They check nothing: see `fastmlp.data`."""
