// __cpu_soft_restart of RFC v1 (and v2): as v4.19, but translation stays as it is, for the relocation to run under.
//
// Entry:    x0 = el2_switch, x1 = entry (VA = PA in TTBR0's identity map), x2..x4 = arguments. At EL1, or at EL2 with VHE.
// Exit:     el2_switch: hvc with x0 = HVC_SOFT_RESTART, x1..x4 as they came, for hyp-stub-v4.19. Else br entry with
//           x0..x2 = arguments. SCTLR_EL1 untouched; which is of no use to an entry that runs at EL2.
// Differs:  from v4.19 by the missing clear of SCTLR_EL1, and nothing else.

.equ HVC_SOFT_RESTART, 1

__cpu_soft_restart:
        cbz     x0, same_level
        mov     x0, #HVC_SOFT_RESTART
        hvc     #0

same_level:
        mov     x8, x1
        mov     x0, x2
        mov     x1, x3
        mov     x2, x4
        br      x8
