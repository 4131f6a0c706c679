// arm64_relocate_new_kernel of "arm64: MMU enabled kexec relocation", RFC v2 (31 July 2019; never merged).
//
// Entry:    x0 = PA of struct kern_reloc_arg, identity-mapped by the table that it names. Translation may be on or off.
//           EL2 where the machine booted there and the escalation is left in, else EL1; DAIF masked.
// Exit:     br entry, with x0..x3 from the argument, at the same level, SCTLR off.
// Differs:  from rfc-v1: it turns translation on itself, at the level that it runs at, over a table of 4 KiB leaves, so
//           at EL2 it also makes TCR_EL2 and MAIR_EL2. It maintains caches by set and way, in the first level alone.
//           At EL2 that froze: its own page is mapped with UXN, and bit 54 is XN there.
// Registers: x0 argument, x12 entry, x11 list, x1 destination, x2 source, x3..x10 data.
// The names of the argument's fields and their order are ours (asm/routines.py has them as data).

.equ IND_DESTINATION, 0
.equ IND_INDIRECTION, 1
.equ IND_DONE, 2
.equ IND_SOURCE, 3
.equ PAGE_BYTES, 4096
.equ EL2, 2 << 2

.equ ARG_HEAD, 0
.equ ARG_ENTRY, 8
.equ ARG_X0, 16
.equ ARG_X1, 24
.equ ARG_X2, 32
.equ ARG_X3, 40
.equ ARG_TTBR0, 48

.equ PARANGE_48_BITS, 5

// M, A, C, SA, I and IESB off at EL1, and at EL2 if that is where we are.
.macro turn_off_mmu
        ldr     x5, sctlr_flags
        mrs     x6, sctlr_el1
        bic     x6, x6, x5
        msr     sctlr_el1, x6
        mrs     x6, CurrentEL
        cmp     x6, #EL2
        b.ne    .Loff\@
        mrs     x6, sctlr_el2
        bic     x6, x6, x5
        msr     sctlr_el2, x6
.Loff\@:
        isb
.endm

// Clean and invalidate the level 1 data cache by set and way. What it writes out may stop in level 2.
.macro clean_level_1
        dsb     sy
        mrs     x3, clidr_el1
        and     x3, x3, #7
        cmp     x3, #2
        b.lo    .Lno_data_cache\@
        msr     csselr_el1, xzr
        isb
        mrs     x3, ccsidr_el1
        and     x4, x3, #7
        add     x4, x4, #4
        ubfx    x5, x3, #3, #10
        clz     w6, w5
        ubfx    x7, x3, #13, #15
.Leach_set\@:
        mov     x8, x5
.Leach_way\@:
        lsl     x9, x8, x6
        lsl     x10, x7, x4
        orr     x9, x9, x10
        dc      cisw, x9
        subs    x8, x8, #1
        b.hs    .Leach_way\@
        subs    x7, x7, #1
        b.hs    .Leach_set\@
.Lno_data_cache\@:
        dsb     sy
        isb
.endm

.macro invalidate_tlb
        dsb     sy
        mrs     x3, CurrentEL
        cmp     x3, #EL2
        b.ne    .Lat_el1\@
        tlbi    alle2
        tlbi    alle1
        b       .Linvalidated\@
.Lat_el1\@:
        tlbi    vmalle1
.Linvalidated\@:
        dsb     sy
        isb
.endm

arm64_relocate_new_kernel:
        turn_off_mmu
        clean_level_1
        invalidate_tlb

        ldr     x12, [x0, #ARG_HEAD]
        tbnz    x12, #IND_DONE, done

        ldr     x3, [x0, #ARG_TTBR0]
        ldr     x4, sctlr_flags
        mrs     x5, CurrentEL
        cmp     x5, #EL2
        b.ne    turn_on_el1

turn_on_el2:
        // TCR_EL2: granule, walk attributes and T0SZ of TCR_EL1, the bits that are RES1 (31 and 23), and PS, in which
        // 52 bits would need another descriptor format.
        mrs     x5, tcr_el1
        ldr     x6, tcr_el2_kept
        and     x5, x5, x6
        ldr     x6, tcr_el2_res1
        orr     x5, x5, x6
        mrs     x6, id_aa64mmfr0_el1
        and     x6, x6, #0xf
        mov     x7, #PARANGE_48_BITS
        cmp     x6, x7
        csel    x6, x6, x7, lo
        bfi     x5, x6, #16, #3
        msr     tcr_el2, x5
        mrs     x5, mair_el1
        msr     mair_el2, x5
        msr     ttbr0_el2, x3
        isb
        mrs     x5, sctlr_el2
        orr     x5, x5, x4
        msr     sctlr_el2, x5
        b       turned_on

turn_on_el1:
        msr     ttbr0_el1, x3
        isb
        mrs     x5, sctlr_el1
        orr     x5, x5, x4
        msr     sctlr_el1, x5

turned_on:
        // No isb between the write of SCTLR and this, as posted.
        ic      iallu
        dsb     nsh
        isb

each_entry:
        and     x2, x12, #~(PAGE_BYTES - 1)
        tbz     x12, #IND_SOURCE, not_source
copy_line:
        ldp     x3, x4, [x2]
        ldp     x5, x6, [x2, #16]
        ldp     x7, x8, [x2, #32]
        ldp     x9, x10, [x2, #48]
        add     x2, x2, #64
        stnp    x3, x4, [x1]
        stnp    x5, x6, [x1, #16]
        stnp    x7, x8, [x1, #32]
        stnp    x9, x10, [x1, #48]
        add     x1, x1, #64
        tst     x2, #(PAGE_BYTES - 1)
        b.ne    copy_line
        b       next_entry

not_source:
        tbz     x12, #IND_INDIRECTION, not_indirection
        mov     x11, x2
        b       next_entry

not_indirection:
        tbz     x12, #IND_DESTINATION, next_entry
        mov     x1, x2

next_entry:
        ldr     x12, [x11], #8
        tbz     x12, #IND_DONE, each_entry

done:
        dsb     nsh
        ic      iallu
        dsb     nsh
        isb
        turn_off_mmu
        clean_level_1
        invalidate_tlb

        ldr     x4, [x0, #ARG_ENTRY]
        ldr     x3, [x0, #ARG_X3]
        ldr     x2, [x0, #ARG_X2]
        ldr     x1, [x0, #ARG_X1]
        ldr     x0, [x0, #ARG_X0]
        br      x4

// Read while translation is on, so they must be in the page that the code is mapped with.
        .p2align 3
sctlr_flags:    .quad (1 << 21) | (1 << 12) | (1 << 3) | (1 << 2) | (1 << 1) | (1 << 0)
tcr_el2_kept:   .quad 0xff3f
tcr_el2_res1:   .quad (1 << 31) | (1 << 23)
