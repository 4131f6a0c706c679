// trans_pgd_stub_vectors as Linux 5.16 and newer copy them into a control page: EL2's vectors while the kernel is replaced.
//
// Entry:    VBAR_EL2 points at a copy of these 0x800 bytes, which may overlie nothing that is relocated. An hvc from EL1
//           arrives at offset 0x400 with the number of the call in x0.
// Exit:     as the hyp-stub: eret with x0 = 0 or 0xbadca11; HVC_SOFT_RESTART: br entry (x1) at EL2, x0..x2 from x2..x4.
// Differs:  from hyp-stub-v5.17: the handler fits its slot of 32 instructions, since a copied table must not branch out of
//           itself; and there is no HVC_VHE_RESTART, which nobody asks for here.

.equ HVC_SET_VECTORS, 0
.equ HVC_SOFT_RESTART, 1
.equ HVC_RESET_VECTORS, 2

// One of the 16 slots of 128 bytes that wait for ever: an exception that nobody expects ends in a hang.
.macro never
        .p2align 7
        b       .
.endm

        .p2align 11
trans_pgd_stub_vectors:
        .rept 8
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
        mov     x0, x2
        mov     x2, x4
        mov     x4, x1
        mov     x1, x3
        br      x4

not_soft_restart:
        cmp     x0, #HVC_RESET_VECTORS
        b.eq    accepted
        movz    x0, #0xca11
        movk    x0, #0x0bad, lsl #16
        eret

accepted:
        mov     x0, xzr
        eret

        .rept 7
        never
        .endr
        .p2align 7
