// arm64_relocate_new_kernel of "arm64: MMU enabled kexec relocation", RFC v1 (16 July 2019; never merged).
//
// Entry:    x0 = kimage->head, x1 = kimage->start, x2 = PA of the dtb; VA = PA through TTBR0_EL1, which holds an identity
//           map of all memory in 2 MiB blocks. soft-restart-rfc-v1 left SCTLR_EL1 as it was, meaning translation to stay
//           on; but a machine that booted at EL2 without VHE gets here by hvc, at EL2, where SCTLR_EL2.M = C = I = 0.
// Exit:     br start, with x0 = dtb, x1 = x2 = x3 = 0, at the same level, SCTLR_EL1 (and SCTLR_EL2 at EL2) off.
// Differs:  from v4.19 only in when SCTLR is cleared: after the loop, not before. Still `dc ivac` before each page, and no
//           clean after the copy. Nothing ever sets SCTLR_EL2.M.
// Registers: x18 dtb, x17 start, x16 entry, x15 line size, x14 list, x13 destination, x12 page of the entry.

.equ IND_DESTINATION, 0
.equ IND_INDIRECTION, 1
.equ IND_DONE, 2
.equ IND_SOURCE, 3
.equ PAGE_BYTES, 4096
.equ EL2, 2 << 2

arm64_relocate_new_kernel:
        mov     x18, x2
        mov     x17, x1
        mov     x16, x0

        // CTR_EL0.DminLine is the log2 of the smallest data line, in words.
        mrs     x0, ctr_el0
        ubfx    x0, x0, #16, #4
        mov     x15, #4
        lsl     x15, x15, x0
        mov     x14, xzr
        mov     x13, xzr

check_head:
        tbnz    x16, #IND_DONE, done

each_entry:
        and     x12, x16, #~(PAGE_BYTES - 1)
        tbz     x16, #IND_SOURCE, not_source

        // Lines of the destination that are still cached would hide, or later overwrite, what is stored past the cache.
        mov     x0, x13
        add     x1, x0, #PAGE_BYTES
        sub     x2, x15, #1
        bic     x0, x0, x2
invalidate_line:
        dc      ivac, x0
        add     x0, x0, x15
        cmp     x0, x1
        b.lo    invalidate_line
        dsb     sy

        mov     x20, x13
        mov     x21, x12
copy_line:
        ldp     x0, x1, [x21]
        ldp     x2, x3, [x21, #16]
        ldp     x4, x5, [x21, #32]
        ldp     x6, x7, [x21, #48]
        add     x21, x21, #64
        stnp    x0, x1, [x20]
        stnp    x2, x3, [x20, #16]
        stnp    x4, x5, [x20, #32]
        stnp    x6, x7, [x20, #48]
        add     x20, x20, #64
        tst     x21, #(PAGE_BYTES - 1)
        b.ne    copy_line

        add     x13, x13, #PAGE_BYTES
        b       next_entry

not_source:
        tbz     x16, #IND_INDIRECTION, not_indirection
        mov     x14, x12
        b       next_entry

not_indirection:
        tbz     x16, #IND_DESTINATION, next_entry
        mov     x13, x12

next_entry:
        ldr     x16, [x14], #8
        tbz     x16, #IND_DONE, each_entry

done:
        dsb     nsh
        ic      iallu
        dsb     nsh
        isb

        // Only now is translation turned off: M, A, C, SA, I and IESB, at EL1 first and then at EL2 if that is where we
        // are. On a machine that booted at EL2 without VHE they were never on at EL2, so the loop ran uncached. The
        // copied lines are not cleaned: where the copy was cached, start may read stale memory.
        movz    x1, #0x100f
        movk    x1, #0x0020, lsl #16
        mrs     x0, sctlr_el1
        bic     x0, x0, x1
        msr     sctlr_el1, x0
        isb
        mrs     x0, CurrentEL
        cmp     x0, #EL2
        b.ne    enter
        mrs     x0, sctlr_el2
        bic     x0, x0, x1
        msr     sctlr_el2, x0
        isb

enter:
        mov     x0, x18
        mov     x1, xzr
        mov     x2, xzr
        mov     x3, xzr
        br      x17
