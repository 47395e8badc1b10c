"""How pip builds GPAW: with the system's libxc and OpenBLAS, and without MPI.

GPAW executes this file if the environment variable ``GPAW_CONFIG`` names it. A job of this package runs in one process,
so it needs no MPI.
"""

compiler = 'gcc'
mpi = False
libraries = ['xc', 'openblas']
