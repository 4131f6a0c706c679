// __cpu_soft_restart as Linux 4.12 to the 5.x before the SCTLR constants have it: leaves the kernel for an address.
//
// Entry:    x0 = el2_switch, x1 = entry (PA), x2..x4 = arguments. Runs at its identity address through TTBR0, at EL1, or
//           at EL2 with VHE (where the EL1 names mean EL2). DAIF masked.
// Exit:     el2_switch: hvc with x0 = HVC_SOFT_RESTART, x1..x4 as they came, for hyp-stub-v4.19. Else br entry with
//           x0..x2 = arguments. SCTLR_EL1.M = A = C = SA = I = IESB = 0 in both.
// Differs:  from rfc-v1, which leaves SCTLR_EL1 alone; from v5.17, which writes a constant.

.equ HVC_SOFT_RESTART, 1

__cpu_soft_restart:
        mrs     x12, sctlr_el1
        movz    x13, #0x100f
        movk    x13, #0x0020, lsl #16
        bic     x12, x12, x13
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
