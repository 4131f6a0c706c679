// EL2's vectors of PATCH v1 to v11 (never merged in Linux): they know one call, the one that starts the new kernel.
//
// A reconstruction from the review of v6 and v9: all 16 vectors are there, and those that nobody expects wait for ever.
//
// Entry:    VBAR_EL2 points at a copy of these 0x800 bytes, which overlie nothing that is relocated. An hvc from EL1
//           arrives at offset 0x400 with the new kernel's entry in x4 and its arguments in x0..x3.
// Exit:     br x4 at EL2, SCTLR_EL2 as it was.
// Differs:  from kexec-vectors-v5.17, which answers the calls of the hyp-stub.

// One of the 16 slots of 128 bytes that wait for ever: an exception that nobody expects ends in a hang.
.macro never
        .p2align 7
        b       .
.endm

        .p2align 11
kexec_el2_vectors:
        .rept 8
        never
        .endr

        .p2align 7
el1_sync:
        br      x4

        .rept 7
        never
        .endr
        .p2align 7
