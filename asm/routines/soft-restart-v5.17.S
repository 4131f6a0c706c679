// cpu_soft_restart as Linux 5.10 (Android's) and 5.17 have it: leaves the kernel for an address.
//
// Entry:    x0 = el2_switch, x1 = entry (PA), x2..x4 = arguments. Runs at its identity address through TTBR0, at EL1, or
//           at EL2 with VHE (where the EL1 names mean EL2). DAIF masked.
// Exit:     el2_switch: hvc with x0 = HVC_SOFT_RESTART, x1..x4 as they came. Else br entry with x0..x2 = arguments.
//           SCTLR_EL1 = 0x30500800 in both.
// Differs:  from v4.19 by the constant instead of a read, clear and write. Since 5.16 only an image that needs no
//           relocation (kdump, in place) leaves this way; relocate-v5.17 is called, not restarted into.

.equ HVC_SOFT_RESTART, 1

cpu_soft_restart:
        movz    x12, #0x0800
        movk    x12, #0x3050, lsl #16
        msr     sctlr_el1, x12
        isb

        cbz     x0, same_level
        mov     x0, #HVC_SOFT_RESTART
        hvc     #0

same_level:
        mov     x8, x1
        mov     x0, x2
        mov     x1, x3
        mov     x2, x4
        br      x8
