"""Every compiled step of the timing model; plain Python under NUMBA_DISABLE_JIT=1, with the same result.

    warming                               pages that are passed by: lines and TLB entries, without time
    tape                                  executions and marks, one after the other
      pipeline                            one instruction: window, operands, ports, retirement
        fetch, loads, stores,             what it asks of memory
        barriers, maintenance
          translation                     TLBs, table walks
          streaming, prefetch             full lines past L1D; lines ahead of a stream
            hierarchy                     L1D, L2, L3
              sets, dram, truth           ways of a level; banks and buses; who sees old data
                calendars, billing        when something is free; what the waiting is billed to
                  layout, codes           where things lie in the machine; the trace's codes

Conventions. `s` is the machine, one record (state.MACHINE) whose members point to everything else (views.py). Times
are core cycles, all integers are int64. A line is pa >> 6. Functions that find something return its index or MISS;
functions that make something wait return the cycle at which it is done. Nothing here allocates, raises or knows a
tunable: numbers come from the machine. `inlined` steps are compiled into their callers, `outlined` ones apart.

Order (DESIGN 3.9). Instructions are visited once, in program order, but their requests carry the cycle at which they
are ready. What is shared (ports, buses, miss buffers) is therefore a calendar or an interval, and a request that is
ready early takes a gap before one that was visited earlier and is ready late.
"""

from numba.core.caching import CacheImpl, InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

from caches.compiled_from import SOURCES

# Before any step is compiled: Numba asks these where it keeps it, before its own.
CacheImpl._locator_classes[:0] = SOURCES.locators((UserProvidedCacheLocator, InTreeCacheLocator, UserWideCacheLocator))
