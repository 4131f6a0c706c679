"""All compiled code of `emu`: the page-table walker, and what runs inside Unicorn's callbacks.

    callbacks                             addresses for Unicorn
      blocks                              before each block: capture its execution, or stop
        checks                            what Unicorn lets pass and the architecture does not
          pages                           pages of this epoch, recorded when first touched
            watching                      lines that descriptors and instructions came from
      filling                             our walker in place of Unicorn's
        walk                              both stages
          stage1, stage2                  tables, permissions, attributes
            descriptors                   what their fields say
    places, walk_words                    where things lie: control block, regime, result of a walk
    host, tables, outside                 raw memory, open addressing, functions called by address

The callbacks only ever append and count. Whatever they cannot do themselves (a block they do not know, a full array,
an access to refuse) they name in C_REASON and stop: Unicorn then stands exactly before that block, and Python goes on
from there.

Everything is int64, also addresses and descriptors (two's complement): Numba turns mixed signs into floats. Nothing
allocates, prints or raises; a failure is a code. Under NUMBA_DISABLE_JIT=1 the same functions run as Python.
"""

from numba.core.caching import CacheImpl, InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

from emu.compiled_from import SOURCES

# Before any function is compiled: Numba asks these where it keeps it, before its own.
CacheImpl._locator_classes[:0] = SOURCES.locators((UserProvidedCacheLocator, InTreeCacheLocator, UserWideCacheLocator))
