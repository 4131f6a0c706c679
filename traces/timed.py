"""When instructions passed through the modelled core: records that `caches.timing` fills and exports read."""

import numpy as np

from traces.schema import LEAVES

EVENTS = ("dram_reads", "dram_writes", "uncached_reads", "uncached_writes", "walks", "walk_reads")
"""What is counted beside cycles: lines moved by DRAM, accesses past the caches (Device and Normal-NC), table walks."""

TIMED = np.dtype(
    [
        ("number", "<u8"),  # instructions of the run before it
        ("insn", "<u4"),  # row of Trace.insns
        ("fetch", "<i8"),  # cycle from which on it could be dispatched, were the window empty
        ("dispatch", "<i8"),  # cycle in which it entered the window
        ("issue", "<i8"),  # cycle in which it began to execute
        ("complete", "<i8"),  # cycle in which its result was there
        ("retire", "<i8"),  # cycle in which it left the window, in order
        ("causes", "<i8", (len(LEAVES),)),  # cycles charged to it, by leaf; sum: its retire less that of the one before
        ("events", "<u4", (len(EVENTS),)),  # EVENTS that came of it
    ]
)
"""One executed instruction. fetch <= dispatch <= issue <= complete <= retire; the first two and the last never fall
from one instruction to the next. A store's line may be written later."""

RETIRED = np.dtype([("number", "<u8"), ("dispatch", "<i8"), ("retire", "<i8")])
"""The same where the two cycles are all that is wanted."""

SAMPLE = np.dtype(
    [
        ("number", "<u8"),  # instructions of the run so far
        ("cycle", "<i8"),  # modelled cycles so far
        ("causes", "<i8", (len(LEAVES),)),  # the same by leaf
        ("events", "<i8", (len(EVENTS),)),  # EVENTS so far
    ]
)
"""What had been counted when an instruction was next."""
