// What the RFCs of July 2019 do to page tables when an image is loaded: an identity map, made leaf by leaf, each found from
// the root. A reconstruction: the same reads, stores and barriers, not the same code. Where pages come from costs one read.
//
// Entry:    x0 = VA of its arguments, below. Translated, in the kernel, with a stack.
// Exit:     x0..x4 and the address to go on at are popped off the stack (six words).
// Differs:  from kexec-tables-v5.17: maps addresses to themselves, and walks down from the root for every leaf.
// Registers: x19 VA, x20 leaf, x21 end, x22 bytes a leaf, x23 ranges, x24 pages left to allocate, x25 VA - PA of the linear
//           map, x26 page size, x27 what masks a table's address, x28 root, x14 index bits of a level, x15 the first one's
//           lowest bit, x16 index bits of the first level, x13 the last one's lowest bit.

.equ ROOT, 0                    // VA of the first table
.equ PAGES, 8                   // VA of the PAs of pages to use, in order
.equ RANGES, 16                 // VA of (VA, end, bytes a leaf, first leaf), ending in four zeroes
.equ LINEAR, 24                 // VA - PA
.equ PAGE_SIZE, 32
.equ FIRST_SHIFT, 40            // lowest VA bit that the first table is indexed by
.equ FIRST_BITS, 48             // how many bits that takes
.equ STRIDE, 56                 // how many bits every other table takes

kexec_tables:
        ldp     x28, x24, [x0, #ROOT]
        ldp     x23, x25, [x0, #RANGES]
        ldp     x26, x15, [x0, #PAGE_SIZE]
        ldp     x16, x14, [x0, #FIRST_BITS]
        mov     x27, #0x0000ffffffffffff
        sub     x2, x26, #1
        bic     x27, x27, x2
        mov     x1, x28
        bl      clear_page

each_range:
        ldp     x19, x21, [x23], #16
        ldp     x22, x20, [x23], #16
        cbz     x21, built
        rbit    x13, x22
        clz     x13, x13

each_leaf:
        mov     x7, x28
        mov     x8, x15
        mov     x9, x16
descend:
        mov     x11, #1
        lsl     x11, x11, x9
        sub     x11, x11, #1
        lsr     x10, x19, x8
        and     x10, x10, x11
        add     x10, x7, x10, lsl #3
        cmp     x8, x13
        b.eq    put_leaf
        ldr     x5, [x10]
        tbnz    x5, #0, has_table
        ldr     x5, [x24], #8
        add     x1, x5, x25
        bl      clear_page
        orr     x5, x5, #3
        str     x5, [x10]
        dsb     ishst
        isb
has_table:
        and     x7, x5, x27
        add     x7, x7, x25
        sub     x8, x8, x14
        mov     x9, x14
        b       descend

put_leaf:
        str     x20, [x10]
        dsb     ishst
        isb
        add     x19, x19, x22
        add     x20, x20, x22
        cmp     x19, x21
        b.lo    each_leaf
        b       each_range

built:
        ldp     x0, x1, [sp], #16
        ldp     x2, x3, [sp], #16
        ldp     x4, x16, [sp], #16
        br      x16

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
