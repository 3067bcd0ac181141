"""A search on CIFAR-10 against networks drawn by hand: 5 M multiply-adds, two CPU cores.

In this order; each goes on where it was left, and as many processes as are begun share ``train``
and ``agree``. ``docs/cifar.md`` has what they found::

    python -m benchmarks.cifar.search found-cifar-4ms-a --data npz:cifar10.npz    # within the hour
    python -m benchmarks.cifar.train --data npz:cifar10.npz    # found and hand-designed networks
    python -m benchmarks.cifar.agree --data npz:cifar10.npz    # does the short training rank?
    python -m benchmarks.cifar.table
"""
