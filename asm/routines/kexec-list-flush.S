// What machine_kexec() does before it leaves, in Linux 4.8 to 5.15: the list and all that it names go to the PoC, because
// the routine will read them with its caches off. A reconstruction: the same accesses and maintenance, not the same code.
//
// Entry:    x0 = kimage->head, x1 = VA - PA of the linear map, x2 = page size; sp as below. Translated, in the kernel.
// Exit:     x0..x4 and the address to go on at are popped off the stack (six words).
// Differs:  from 5.16 and newer, which have no such pass: their routine reads with its caches on.
// Registers: x19 entry, x20 list, x21 VA - PA, x22 page size; x0..x3 as a call may use them.

.equ IND_DESTINATION, 0
.equ IND_INDIRECTION, 1
.equ IND_DONE, 2
.equ IND_SOURCE, 3

kexec_list_flush:
        mov     x19, x0
        mov     x21, x1
        mov     x22, x2
        b       each_flag

flush_entry:
        // The entry itself; its line is named once an entry, eight times in all.
        mov     x0, x20
        mov     x1, #8
        bl      flush_area
        ldr     x19, [x20], #8

each_flag:
        tbnz    x19, #IND_DONE, flushed
        sub     x0, x22, #1
        bic     x0, x19, x0
        add     x0, x0, x21
        tbnz    x19, #IND_SOURCE, source
        tbz     x19, #IND_INDIRECTION, flush_entry
        mov     x20, x0
        b       flush_entry

source:
        mov     x1, x22
        bl      flush_area
        b       flush_entry

flushed:
        ldp     x0, x1, [sp], #16
        ldp     x2, x3, [sp], #16
        ldp     x4, x16, [sp], #16
        br      x16

// Clean and invalidate [x0, x0 + x1) to the PoC.
flush_area:
        mrs     x3, ctr_el0
        ubfx    x3, x3, #16, #4
        mov     x2, #4
        lsl     x2, x2, x3
        add     x1, x0, x1
        sub     x3, x2, #1
        bic     x0, x0, x3
flush_line:
        dc      civac, x0
        add     x0, x0, x2
        cmp     x0, x1
        b.lo    flush_line
        dsb     sy
        ret
