"""Record what small runs on the embedded digits come out at, and compare two records: a rebuild changes no number.

    python -m reproductions.outcomes record OUT.json [--only NAME ...] [--skip NAME ...] [--processes]
                                             [--jobs 1] [--keep DIR]
    python -m reproductions.outcomes compare A.json B.json
    python -m reproductions.outcomes list

Every case runs in a process of its own, in a folder of its own, on one thread; the processes are forked from one that
has imported torch and Lightning, and nothing of dreamer or Avalanche. What is recorded is the checkout in
which these files lie. Tensors are hashed by type, shape and bytes; seconds, dates, versions, paths and names are
not recorded. A state dict has two hashes:

    ordered    in the order of the sorted names
    any_order  as a set, which renamed attributes leave alone

Comparing exits with 1 on any difference and names what differs. Where ``ordered`` alone differs, attributes have been
renamed and no tensor has changed: that is reported, and is no difference.
"""
