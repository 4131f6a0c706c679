// arm64_relocate_new_kernel as Linux 5.16 has it, before eb3d8ea3e1f0 (May 2022): kimage is read again after the copy.
//
// Entry:    x0 = VA of struct kimage in the linear map. Called with translation and caches on, through TTBR0 at the
//           identity address of its own single page; EL1, or EL2 with VHE (where the EL1 names mean EL2). DAIF masked.
// Exit:     kimage->el2_vectors set: hvc with x0 = HVC_SOFT_RESTART, x1 = start, x2 = dtb, x3 = x4 = 0, taken by
//           kexec-vectors-v5.17 at EL2. Else br start with x0 = dtb, x1 = x2 = x3 = 0. SCTLR_EL1 off in both.
// Differs:  from v5.17 only in when start, EL2 vectors and dtb are read: after the copy, from a structure that lies in
//           ordinary memory and may have been a destination. Then it branches to whatever the new image has there.
// Registers: x28 start, x27 EL2 vectors, x26 dtb, x22 PA - VA, x18 zero page, x17 TTBR1 of the copy, x16 entry, x15 line
//           size, x14 list, x13 destination, x12 source, x19 page begun, x20 temporary, x1..x8 data.
// x13 and x14 are not set up: a list begins with an indirection and a destination.

.equ IND_DESTINATION, 0
.equ IND_INDIRECTION, 1
.equ IND_DONE, 2
.equ IND_SOURCE, 3
.equ PAGE_BYTES, 4096
.equ HVC_SOFT_RESTART, 1

.equ KIMAGE_HEAD, 0
.equ KIMAGE_START, 24
.equ KIMAGE_DTB_MEM, 648
.equ KIMAGE_EL2_VECTORS, 664
.equ KIMAGE_TTBR1, 680
.equ KIMAGE_ZERO_PAGE, 688
.equ KIMAGE_PHYS_OFFSET, 696

arm64_relocate_new_kernel:
        ldr     x18, [x0, #KIMAGE_ZERO_PAGE]
        ldr     x17, [x0, #KIMAGE_TTBR1]
        ldr     x16, [x0, #KIMAGE_HEAD]
        ldr     x22, [x0, #KIMAGE_PHYS_OFFSET]

        mrs     x1, ctr_el0
        ubfx    x1, x1, #16, #4
        mov     x15, #4
        lsl     x15, x15, x1

        // Break before make: TTBR1 to an empty table, invalidate, then to the copy of the linear map, whose pages no
        // destination covers.
        msr     ttbr1_el1, x18
        isb
        tlbi    vmalle1
        dsb     nsh
        msr     ttbr1_el1, x17
        isb

each_entry:
        and     x12, x16, #~(PAGE_BYTES - 1)
        sub     x12, x12, x22
        tbz     x16, #IND_SOURCE, not_source

        mov     x19, x13
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

        // The new kernel starts with its caches off: what it is made of has to be in memory.
        add     x1, x19, #PAGE_BYTES
        sub     x20, x15, #1
        bic     x19, x19, x20
clean_line:
        dc      civac, x19
        add     x19, x19, x15
        cmp     x19, x1
        b.lo    clean_line
        dsb     sy
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

        // Through the copy of the linear map: if this page was a destination, what is read is the new kernel's.
        ldr     x28, [x0, #KIMAGE_START]
        ldr     x27, [x0, #KIMAGE_EL2_VECTORS]
        ldr     x26, [x0, #KIMAGE_DTB_MEM]

        // INIT_SCTLR_EL1_MMU_OFF: RES1 bits alone.
        movz    x12, #0x0800
        movk    x12, #0x3050, lsl #16
        msr     sctlr_el1, x12
        isb

        cbz     x27, same_level
        mov     x1, x28
        mov     x2, x26
        mov     x3, xzr
        mov     x4, xzr
        mov     x0, #HVC_SOFT_RESTART
        hvc     #0

same_level:
        mov     x0, x26
        mov     x1, xzr
        mov     x2, xzr
        mov     x3, xzr
        br      x28
