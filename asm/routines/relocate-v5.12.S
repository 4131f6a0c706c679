// arm64_relocate_new_kernel as Linux 5.12 to 5.15 have it: the MMU is off, all data is Device-nGnRnE.
//
// Entry:    x0 = kimage->head, x1 = kimage->start, x2 = PA of the dtb. All addresses physical.
//           EL2 where the machine booted there, else EL1; SCTLR.M = C = I = 0 at that level; DAIF masked.
// Exit:     br start, with x0 = dtb, x1 = x2 = x3 = 0, at the same level.
// Differs:  from v4.19: SCTLR_EL2 is left alone, IND_DONE is tested before CTR_EL0 is read, and the page copy moves x13
//           and x12 themselves; from v5.17: everything runs untranslated, and lines are invalidated before the copy
//           instead of cleaned after it.
// Registers: x18 dtb, x17 start, x16 entry, x15 line size, x14 list, x13 destination, x12 source, x1..x8 data.

.equ IND_DESTINATION, 0
.equ IND_INDIRECTION, 1
.equ IND_DONE, 2
.equ IND_SOURCE, 3
.equ PAGE_BYTES, 4096

arm64_relocate_new_kernel:
        mov     x18, x2
        mov     x17, x1
        mov     x16, x0
        tbnz    x16, #IND_DONE, done

        mrs     x1, ctr_el0
        ubfx    x1, x1, #16, #4
        mov     x15, #4
        lsl     x15, x15, x1

each_entry:
        and     x12, x16, #~(PAGE_BYTES - 1)
        tbz     x16, #IND_SOURCE, not_source

        mov     x2, x13
        add     x1, x2, #PAGE_BYTES
        sub     x3, x15, #1
        bic     x2, x2, x3
invalidate_line:
        dc      ivac, x2
        add     x2, x2, x15
        cmp     x2, x1
        b.lo    invalidate_line
        dsb     sy

copy_line:
        ldp     x1, x2, [x12]
        ldp     x3, x4, [x12, #16]
        ldp     x5, x6, [x12, #32]
        ldp     x7, x8, [x12, #48]
        add     x12, x12, #64
        stnp    x1, x2, [x13]
        stnp    x3, x4, [x13, #16]
        stnp    x5, x6, [x13, #32]
        stnp    x7, x8, [x13, #48]
        add     x13, x13, #64
        tst     x12, #(PAGE_BYTES - 1)
        b.ne    copy_line
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

        mov     x0, x18
        mov     x1, xzr
        mov     x2, xzr
        mov     x3, xzr
        br      x17
