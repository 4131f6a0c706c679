"""Stepping: the routine under the hand, forwards and backwards, with the microarchitecture in view.

A `Session` is one run that can be stood at any instruction of: the guest (emu.rerun) and the timing model
(caches.stepping) are moved together. `search` finds where to go, `views` says what there is to see, `commands` is the
language that line mode, the full screen and gdb's `monitor` share.
"""
