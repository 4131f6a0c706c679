// __hyp_stub_vectors as Linux 4.12 to 5.11 have them: what is left at EL2 when the kernel runs at EL1 without KVM.
//
// Entry:    VBAR_EL2 points at the table, which is 2 KiB aligned. An hvc from EL1 arrives at offset 0x400 with the number
//           of the call in x0. SCTLR_EL2 is as head.S or KVM's reset left it: M = C = I = 0.
// Exit:     eret with x0 = 0 (done) or 0xbadca11 (no such call); HVC_SOFT_RESTART (x1 = entry, x2..x4 = arguments): br
//           entry at EL2, x0..x2 = arguments.
// Differs:  from v5.17 by the missing call number 3; from kexec-vectors-v5.17, whose handler lies inside the table.

.equ HVC_SET_VECTORS, 0
.equ HVC_SOFT_RESTART, 1
.equ HVC_RESET_VECTORS, 2

// One of the 16 slots of 128 bytes that wait for ever: an exception that nobody expects ends in a hang.
.macro never
        .p2align 7
        b       .
.endm

        .p2align 11
__hyp_stub_vectors:
        .rept 8
        never
        .endr
        .p2align 7
        b       el1_sync
        .rept 7
        never
        .endr

        .p2align 7
el1_sync:
        cmp     x0, #HVC_SET_VECTORS
        b.ne    not_set_vectors
        msr     vbar_el2, x1
        b       accepted

not_set_vectors:
        cmp     x0, #HVC_SOFT_RESTART
        b.ne    not_soft_restart
        // Stays at EL2, and touches no SCTLR, TCR, MAIR, TTBR or TLB.
        mov     x0, x2
        mov     x2, x4
        mov     x4, x1
        mov     x1, x3
        br      x4

not_soft_restart:
        cmp     x0, #HVC_RESET_VECTORS
        b.eq    accepted

refused:
        movz    x0, #0xca11
        movk    x0, #0x0bad, lsl #16
        eret

accepted:
        mov     x0, xzr
        eret
