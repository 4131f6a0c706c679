// arm64_relocate_new_kernel of PATCH v1 to v11 (August 2019 to January 2021; this much of it was never merged in Linux).
//
// A reconstruction of v9 to v11 from their description; the names of the argument's fields and their order are ours.
//
// Entry:    x0 = PA of struct kern_reloc_arg, translation off. A machine that booted at EL2 without VHE gets here at EL2
//           through the hyp-stub's soft restart, else at the kernel's own level. DAIF masked.
// Exit:     ARG_EL2_VECTORS set: hvc, which kexec-vectors-v11 answers by br x4 at EL2. Else br x4. x4 = entry, x0..x3
//           from the argument, SCTLR off.
// Differs:  from rfc-v2: at EL2 it first goes down to EL1 by eret, and copies there. From v12 and later: sources and
//           destinations each lie in a row in TTBR1's range, so that one straight loop copies everything and there is no
//           list to walk; and it cleans to the PoU, which an uncached reader does not see.
// Registers: x0 argument, x12 source, x13 destination, x14 bytes left, x15 line size, x1..x8 data and temporaries.

.equ PAGE_BYTES, 4096
.equ EL2, 2 << 2

.equ ARG_ENTRY, 8
.equ ARG_X0, 16
.equ ARG_X1, 24
.equ ARG_X2, 32
.equ ARG_X3, 40
.equ ARG_TTBR0, 48
.equ ARG_TTBR1, 56
.equ ARG_T0SZ, 64
.equ ARG_EL2_VECTORS, 72
.equ ARG_SOURCE, 80
.equ ARG_DESTINATION, 88
.equ ARG_LENGTH, 96

.macro invalidate_tlb
        dsb     sy
        dsb     ish
        tlbi    vmalle1
        dsb     ish
        isb
.endm

arm64_relocate_new_kernel:
        mrs     x1, CurrentEL
        cmp     x1, #EL2
        b.ne    at_copy_level

        // M, A, C, SA, I and IESB off, as they are since boot where there is no VHE.
        ldr     x2, sctlr_flags
        mrs     x1, sctlr_el2
        bic     x1, x1, x2
        msr     sctlr_el2, x1
        isb

        // Down to EL1 by an eret of our own. SPSR_EL2 is what the hvc left that led here: EL1h, everything masked.
        ldr     x1, [x0, #ARG_EL2_VECTORS]
        cbz     x1, at_copy_level
        msr     vbar_el2, x1
        adr     x1, at_copy_level
        msr     elr_el2, x1
        eret

at_copy_level:
        // All of the argument that the copy needs: its page is not mapped.
        ldr     x12, [x0, #ARG_SOURCE]
        ldr     x13, [x0, #ARG_DESTINATION]
        ldr     x14, [x0, #ARG_LENGTH]
        cbz     x14, leave
        ldr     x1, [x0, #ARG_TTBR0]
        ldr     x2, [x0, #ARG_TTBR1]
        ldr     x3, [x0, #ARG_T0SZ]
        mov     x9, x13
        add     x10, x13, x14

        mrs     x4, tcr_el1
        bfi     x4, x3, #0, #6
        msr     tcr_el1, x4
        msr     ttbr0_el1, x1
        msr     ttbr1_el1, x2
        isb
        invalidate_tlb

        ldr     x2, sctlr_flags
        mrs     x1, sctlr_el1
        orr     x1, x1, x2
        msr     sctlr_el1, x1
        ic      iallu
        dsb     nsh
        isb

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
        subs    x14, x14, #PAGE_BYTES
        b.ne    copy_line

        // To the PoU alone. CTR_EL0.DminLine is the log2 of the smallest data line, in words.
        mrs     x1, ctr_el0
        ubfx    x1, x1, #16, #4
        mov     x15, #4
        lsl     x15, x15, x1
clean_line:
        dc      cvau, x9
        add     x9, x9, x15
        cmp     x9, x10
        b.lo    clean_line
        dsb     ish

        ldr     x2, sctlr_flags
        mrs     x1, sctlr_el1
        bic     x1, x1, x2
        msr     sctlr_el1, x1
        isb
        invalidate_tlb

leave:
        ldr     x9, [x0, #ARG_EL2_VECTORS]
        ldr     x4, [x0, #ARG_ENTRY]
        ldr     x3, [x0, #ARG_X3]
        ldr     x2, [x0, #ARG_X2]
        ldr     x1, [x0, #ARG_X1]
        ldr     x0, [x0, #ARG_X0]
        cbz     x9, same_level
        hvc     #0
same_level:
        br      x4

// Read while translation is on, so it must be in the page that the code is mapped with.
        .p2align 3
sctlr_flags:    .quad (1 << 21) | (1 << 12) | (1 << 3) | (1 << 2) | (1 << 1) | (1 << 0)
