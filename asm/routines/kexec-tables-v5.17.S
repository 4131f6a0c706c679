// What machine_kexec_post_load() does to page tables in Linux 5.16 and newer, when an image is loaded: a copy of the linear
// map's tables, in pages that no destination covers, every leaf writable, and tables for one page VA = PA. A
// reconstruction: the same reads, stores and barriers, not the same code. Where pages come from costs one read here.
//
// Entry:    x0 = VA of its arguments, below. Translated, in the kernel, with a stack.
// Exit:     x0..x4 and the address to go on at are popped off the stack (six words).
// Differs:  from kexec-tables-rfc: copies tables that there are, block by block where they have blocks.
// Registers: x24 pages left to allocate (VA of their PAs), x25 VA - PA of the linear map, x26 page size, x27 what masks a
//           table's address; x19..x22 and x30 of each level on the stack.

.equ DESTINATION, 0             // VA of the copy's first entry
.equ SOURCE, 8                  // VA of the entry of the linear map that belongs there
.equ ENTRIES, 16                // entries of the first level to copy
.equ LEVELS_BELOW, 24           // levels below the first
.equ PAGES, 32                  // VA of the PAs of pages to use, in order
.equ LINEAR, 40                 // VA - PA
.equ PAGE_SIZE, 48
.equ ROOT, 56                   // VA of the copy's first page
.equ STORES, 64                 // VA of the identity map's entries: (VA of its page, VA of the entry, value), ending in 0

.equ VALID, 0
.equ TABLE, 1
.equ READ_ONLY, 1 << 7
.equ WRITE, 1 << 51

kexec_tables:
        ldp     x19, x20, [x0, #DESTINATION]
        ldp     x21, x22, [x0, #ENTRIES]
        ldp     x24, x25, [x0, #PAGES]
        ldp     x26, x1, [x0, #PAGE_SIZE]
        ldr     x23, [x0, #STORES]
        mov     x27, #0x0000ffffffffffff
        sub     x2, x26, #1
        bic     x27, x27, x2
        bl      clear_page
        mov     x0, x19
        mov     x1, x20
        mov     x2, x21
        mov     x3, x22
        bl      copy_table

        // The identity map: one page and one entry a level.
each_store:
        ldr     x1, [x23], #8
        cbz     x1, built
        bl      clear_page
        ldp     x1, x2, [x23], #16
        str     x2, [x1]
        b       each_store

built:
        ldp     x0, x1, [sp], #16
        ldp     x2, x3, [sp], #16
        ldp     x4, x16, [sp], #16
        br      x16

// Copy x2 entries from x1 to x0, and with x3 levels below them what they lead to.
copy_table:
        stp     x19, x20, [sp, #-48]!
        stp     x21, x22, [sp, #16]
        str     x30, [sp, #32]
        mov     x19, x0
        mov     x20, x1
        mov     x21, x2
        mov     x22, x3
copy_slot:
        ldr     x4, [x20], #8
        tbz     x4, #VALID, next_slot
        cbz     x22, leaf
        tbz     x4, #TABLE, leaf

        ldr     x5, [x24], #8
        add     x1, x5, x25
        bl      clear_page
        orr     x6, x5, #3
        str     x6, [x19]
        dsb     ishst
        isb
        add     x0, x5, x25
        and     x1, x4, x27
        add     x1, x1, x25
        lsr     x2, x26, #3
        sub     x3, x22, #1
        bl      copy_table
        b       next_slot

leaf:
        bic     x4, x4, #READ_ONLY
        orr     x4, x4, #WRITE
        str     x4, [x19]
        dsb     ishst
        isb

next_slot:
        add     x19, x19, #8
        subs    x21, x21, #1
        b.ne    copy_slot
        ldr     x30, [sp, #32]
        ldp     x21, x22, [sp, #16]
        ldp     x19, x20, [sp], #48
        ret

// Zero the page at x1.
clear_page:
        add     x2, x1, x26
clear_line:
        stp     xzr, xzr, [x1], #16
        stp     xzr, xzr, [x1], #16
        stp     xzr, xzr, [x1], #16
        stp     xzr, xzr, [x1], #16
        cmp     x1, x2
        b.lo    clear_line
        ret
