"""Sweeps: one plan of many settings, captured once per functional configuration, replayed once per point.

`plan` says what was asked for, in `designs` of values of `keys`; `points` makes it concrete and refuses what cannot be.
`tasks` are its pieces, `measured` what they compute under which of the `versions`; `workers` has them done here or in
other processes (`worker`), `cluster` by Dask; `store` keeps what is done. `sweep` is the order of it all, `survey` what
it would be, `confirming` says what a sample leaves to full replays; `table` is what comes out, `pareto`
what it costs against what it buys, `plotting` the pictures.
"""
