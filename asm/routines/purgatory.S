// The purgatory of kexec-tools for arm64: between the relocation and the new kernel it proves that the image is what was
// loaded. SHA-256 (FIPS 180-4) of every segment but its own, in integer instructions, against the digest that kexec wrote.
// Not Linux's, and nobody's code but ours.
//
// A reconstruction from the repositories' history. WITH_DCACHE = 1 is Pratyush Anand's patch (2016, never merged there):
// translation and caches on at the current level while it computes, over a table that kexec built.
//
// Entry:    from a relocation, which takes this for the new kernel: M = C = I = 0 at EL1 or EL2 (at EL2, E2H = 0 where
//           WITH_DCACHE). x0..x3 mean nothing. What kexec fills in is at the end, by name.
// Exit:     br arm64_kernel_entry with x0 = arm64_dtb_addr, x1 = x2 = x3 = 0, M and C as on entry. If a digest is wrong, a
//           branch to itself: so does kexec-tools'.
// Differs:  from kexec-tools' by what a C compiler makes of the same algorithm; the message schedule lies in memory in
//           both, the constants are immediates in both.
// Registers: x28 regions, x2 end of the region, x3 bytes so far, x12 data, x15 schedule, w20..w27 digest so far, w4..w11 a..h, w16 and w17
//           temporary, x13 and x14 running.

.equ WITH_DCACHE, 0
.equ EL2, 2 << 2
.equ BLOCK_BYTES, 64
.equ MAIR_NORMAL_WB, 0xff
.equ SCTLR_M_C_I, (1 << 12) | (1 << 2) | (1 << 0)
.equ SCTLR_M_C, (1 << 2) | (1 << 0)
// T0SZ = 16, walks Write-Back, Non-shareable (the patch sets SH0 = 0), 4K granule. PS is put in where the level has it.
.equ TCR_BUT_PS, 16 | (1 << 8) | (1 << 10)

// One of 64 rounds: h += S1(e) + Ch(e, f, g) + K + W; d += h; h += S0(a) + Maj(a, b, c).
.macro round a, b, c, d, e, f, g, h, at, high, low
        ror     w16, \e, #6
        eor     w16, w16, \e, ror #11
        eor     w16, w16, \e, ror #25
        add     \h, \h, w16
        eor     w17, \f, \g
        and     w17, w17, \e
        eor     w17, w17, \g
        add     \h, \h, w17
        movz    w16, #\low
        movk    w16, #\high, lsl #16
        ldr     w17, [x15, #(\at * 4)]
        add     w16, w16, w17
        add     \h, \h, w16
        add     \d, \d, \h
        ror     w16, \a, #2
        eor     w16, w16, \a, ror #13
        eor     w16, w16, \a, ror #22
        add     \h, \h, w16
        and     w16, \a, \b
        orr     w17, \a, \b
        and     w17, w17, \c
        orr     w16, w16, w17
        add     \h, \h, w16
.endm

purgatory_start:
        .rept WITH_DCACHE
        // Table, attributes and size of the addresses of the level that this runs at; PARange of ID_AA64MMFR0_EL1 is PS.
        ldr     x4, purgatory_ttbr0
        mov     x5, #MAIR_NORMAL_WB
        movz    x6, #TCR_BUT_PS
        mrs     x7, id_aa64mmfr0_el1
        and     x7, x7, #0xf
        mrs     x8, CurrentEL
        cmp     x8, #EL2
        b.eq    on_at_el2
        tlbi    vmalle1
        dsb     nsh
        isb
        bfi     x6, x7, #32, #3
        msr     mair_el1, x5
        msr     tcr_el1, x6
        msr     ttbr0_el1, x4
        isb
        mrs     x9, sctlr_el1
        movz    x10, #SCTLR_M_C_I
        orr     x9, x9, x10
        msr     sctlr_el1, x9
        isb
        b       turned_on
on_at_el2:
        tlbi    alle2
        dsb     nsh
        isb
        bfi     x6, x7, #16, #3
        msr     mair_el2, x5
        msr     tcr_el2, x6
        msr     ttbr0_el2, x4
        isb
        mrs     x9, sctlr_el2
        movz    x10, #SCTLR_M_C_I
        orr     x9, x9, x10
        msr     sctlr_el2, x9
        isb
turned_on:
        .endr

        ldr     x15, sha256_schedule
        adr     x13, sha256_initial
        ldp     w20, w21, [x13]
        ldp     w22, w23, [x13, #8]
        ldp     w24, w25, [x13, #16]
        ldp     w26, w27, [x13, #24]
        adr     x28, sha256_regions
        mov     x3, xzr

// One message, many regions. They are whole pages, so a block lies in one region, and x3 counts whole blocks.
each_region:
        ldp     x12, x13, [x28], #16
        cbz     x13, finish
        add     x2, x12, x13
        add     x3, x3, x13
each_block:
        bl      compress
        cmp     x12, x2
        b.lo    each_block
        b       each_region

finish:
        // The last block: a one, zeros, and the length in bits, all of it big-endian. It is made where the input is not.
        ldr     x12, sha256_last_block
        mov     w13, #0x80
        str     x13, [x12]
        stp     xzr, xzr, [x12, #8]
        stp     xzr, xzr, [x12, #24]
        stp     xzr, xzr, [x12, #40]
        lsl     x3, x3, #3
        rev     x3, x3
        str     x3, [x12, #56]
        bl      compress

        // The digest is kept as eight words, as they are in the registers.
        add     x13, x15, #256
        stp     w20, w21, [x13]
        stp     w22, w23, [x13, #8]
        stp     w24, w25, [x13, #16]
        stp     w26, w27, [x13, #24]
        adr     x14, sha256_digest
        mov     x16, #4
compare:
        ldr     x4, [x13], #8
        ldr     x5, [x14], #8
        cmp     x4, x5
        b.ne    wrong_digest
        subs    x16, x16, #1
        b.ne    compare

        .rept WITH_DCACHE
        // Off again, and everything out of the caches that the new kernel will read without them.
        mov     x10, #SCTLR_M_C
        mrs     x8, CurrentEL
        cmp     x8, #EL2
        b.eq    off_at_el2
        mrs     x9, sctlr_el1
        bic     x9, x9, x10
        msr     sctlr_el1, x9
        b       turned_off
off_at_el2:
        mrs     x9, sctlr_el2
        bic     x9, x9, x10
        msr     sctlr_el2, x9
turned_off:
        isb
        ic      iallu
        dsb     nsh
        isb
        mrs     x4, ctr_el0
        ubfx    x4, x4, #16, #4
        mov     x15, #4
        lsl     x15, x15, x4
        adr     x28, clean_regions
clean_region:
        ldp     x12, x13, [x28], #16
        cbz     x13, cleaned
        add     x13, x12, x13
clean_line:
        dc      civac, x12
        add     x12, x12, x15
        cmp     x12, x13
        b.lo    clean_line
        b       clean_region
cleaned:
        dsb     sy
        .endr

        ldr     x4, arm64_kernel_entry
        ldr     x0, arm64_dtb_addr
        mov     x1, xzr
        mov     x2, xzr
        mov     x3, xzr
        br      x4

wrong_digest:
        b       .

// Take the 64 bytes at x12 into the digest; x12 moves behind them.
compress:
        mov     x13, x15
        add     x14, x15, #BLOCK_BYTES
load_word:
        ldr     w16, [x12], #4
        rev     w16, w16
        str     w16, [x13], #4
        cmp     x13, x14
        b.lo    load_word

        // W[t] = s1(W[t - 2]) + W[t - 7] + s0(W[t - 15]) + W[t - 16], in memory.
        add     x14, x15, #256
expand_word:
        ldur    w16, [x13, #-8]
        ror     w17, w16, #17
        eor     w17, w17, w16, ror #19
        eor     w17, w17, w16, lsr #10
        ldur    w16, [x13, #-28]
        add     w17, w17, w16
        ldur    w16, [x13, #-64]
        add     w17, w17, w16
        ldur    w16, [x13, #-60]
        ror     w18, w16, #7
        eor     w18, w18, w16, ror #18
        eor     w18, w18, w16, lsr #3
        add     w17, w17, w18
        str     w17, [x13], #4
        cmp     x13, x14
        b.lo    expand_word

        mov     w4, w20
        mov     w5, w21
        mov     w6, w22
        mov     w7, w23
        mov     w8, w24
        mov     w9, w25
        mov     w10, w26
        mov     w11, w27
        round   w4, w5, w6, w7, w8, w9, w10, w11, 0, 0x428a, 0x2f98
        round   w11, w4, w5, w6, w7, w8, w9, w10, 1, 0x7137, 0x4491
        round   w10, w11, w4, w5, w6, w7, w8, w9, 2, 0xb5c0, 0xfbcf
        round   w9, w10, w11, w4, w5, w6, w7, w8, 3, 0xe9b5, 0xdba5
        round   w8, w9, w10, w11, w4, w5, w6, w7, 4, 0x3956, 0xc25b
        round   w7, w8, w9, w10, w11, w4, w5, w6, 5, 0x59f1, 0x11f1
        round   w6, w7, w8, w9, w10, w11, w4, w5, 6, 0x923f, 0x82a4
        round   w5, w6, w7, w8, w9, w10, w11, w4, 7, 0xab1c, 0x5ed5
        round   w4, w5, w6, w7, w8, w9, w10, w11, 8, 0xd807, 0xaa98
        round   w11, w4, w5, w6, w7, w8, w9, w10, 9, 0x1283, 0x5b01
        round   w10, w11, w4, w5, w6, w7, w8, w9, 10, 0x2431, 0x85be
        round   w9, w10, w11, w4, w5, w6, w7, w8, 11, 0x550c, 0x7dc3
        round   w8, w9, w10, w11, w4, w5, w6, w7, 12, 0x72be, 0x5d74
        round   w7, w8, w9, w10, w11, w4, w5, w6, 13, 0x80de, 0xb1fe
        round   w6, w7, w8, w9, w10, w11, w4, w5, 14, 0x9bdc, 0x06a7
        round   w5, w6, w7, w8, w9, w10, w11, w4, 15, 0xc19b, 0xf174
        round   w4, w5, w6, w7, w8, w9, w10, w11, 16, 0xe49b, 0x69c1
        round   w11, w4, w5, w6, w7, w8, w9, w10, 17, 0xefbe, 0x4786
        round   w10, w11, w4, w5, w6, w7, w8, w9, 18, 0x0fc1, 0x9dc6
        round   w9, w10, w11, w4, w5, w6, w7, w8, 19, 0x240c, 0xa1cc
        round   w8, w9, w10, w11, w4, w5, w6, w7, 20, 0x2de9, 0x2c6f
        round   w7, w8, w9, w10, w11, w4, w5, w6, 21, 0x4a74, 0x84aa
        round   w6, w7, w8, w9, w10, w11, w4, w5, 22, 0x5cb0, 0xa9dc
        round   w5, w6, w7, w8, w9, w10, w11, w4, 23, 0x76f9, 0x88da
        round   w4, w5, w6, w7, w8, w9, w10, w11, 24, 0x983e, 0x5152
        round   w11, w4, w5, w6, w7, w8, w9, w10, 25, 0xa831, 0xc66d
        round   w10, w11, w4, w5, w6, w7, w8, w9, 26, 0xb003, 0x27c8
        round   w9, w10, w11, w4, w5, w6, w7, w8, 27, 0xbf59, 0x7fc7
        round   w8, w9, w10, w11, w4, w5, w6, w7, 28, 0xc6e0, 0x0bf3
        round   w7, w8, w9, w10, w11, w4, w5, w6, 29, 0xd5a7, 0x9147
        round   w6, w7, w8, w9, w10, w11, w4, w5, 30, 0x06ca, 0x6351
        round   w5, w6, w7, w8, w9, w10, w11, w4, 31, 0x1429, 0x2967
        round   w4, w5, w6, w7, w8, w9, w10, w11, 32, 0x27b7, 0x0a85
        round   w11, w4, w5, w6, w7, w8, w9, w10, 33, 0x2e1b, 0x2138
        round   w10, w11, w4, w5, w6, w7, w8, w9, 34, 0x4d2c, 0x6dfc
        round   w9, w10, w11, w4, w5, w6, w7, w8, 35, 0x5338, 0x0d13
        round   w8, w9, w10, w11, w4, w5, w6, w7, 36, 0x650a, 0x7354
        round   w7, w8, w9, w10, w11, w4, w5, w6, 37, 0x766a, 0x0abb
        round   w6, w7, w8, w9, w10, w11, w4, w5, 38, 0x81c2, 0xc92e
        round   w5, w6, w7, w8, w9, w10, w11, w4, 39, 0x9272, 0x2c85
        round   w4, w5, w6, w7, w8, w9, w10, w11, 40, 0xa2bf, 0xe8a1
        round   w11, w4, w5, w6, w7, w8, w9, w10, 41, 0xa81a, 0x664b
        round   w10, w11, w4, w5, w6, w7, w8, w9, 42, 0xc24b, 0x8b70
        round   w9, w10, w11, w4, w5, w6, w7, w8, 43, 0xc76c, 0x51a3
        round   w8, w9, w10, w11, w4, w5, w6, w7, 44, 0xd192, 0xe819
        round   w7, w8, w9, w10, w11, w4, w5, w6, 45, 0xd699, 0x0624
        round   w6, w7, w8, w9, w10, w11, w4, w5, 46, 0xf40e, 0x3585
        round   w5, w6, w7, w8, w9, w10, w11, w4, 47, 0x106a, 0xa070
        round   w4, w5, w6, w7, w8, w9, w10, w11, 48, 0x19a4, 0xc116
        round   w11, w4, w5, w6, w7, w8, w9, w10, 49, 0x1e37, 0x6c08
        round   w10, w11, w4, w5, w6, w7, w8, w9, 50, 0x2748, 0x774c
        round   w9, w10, w11, w4, w5, w6, w7, w8, 51, 0x34b0, 0xbcb5
        round   w8, w9, w10, w11, w4, w5, w6, w7, 52, 0x391c, 0x0cb3
        round   w7, w8, w9, w10, w11, w4, w5, w6, 53, 0x4ed8, 0xaa4a
        round   w6, w7, w8, w9, w10, w11, w4, w5, 54, 0x5b9c, 0xca4f
        round   w5, w6, w7, w8, w9, w10, w11, w4, 55, 0x682e, 0x6ff3
        round   w4, w5, w6, w7, w8, w9, w10, w11, 56, 0x748f, 0x82ee
        round   w11, w4, w5, w6, w7, w8, w9, w10, 57, 0x78a5, 0x636f
        round   w10, w11, w4, w5, w6, w7, w8, w9, 58, 0x84c8, 0x7814
        round   w9, w10, w11, w4, w5, w6, w7, w8, 59, 0x8cc7, 0x0208
        round   w8, w9, w10, w11, w4, w5, w6, w7, 60, 0x90be, 0xfffa
        round   w7, w8, w9, w10, w11, w4, w5, w6, 61, 0xa450, 0x6ceb
        round   w6, w7, w8, w9, w10, w11, w4, w5, 62, 0xbef9, 0xa3f7
        round   w5, w6, w7, w8, w9, w10, w11, w4, 63, 0xc671, 0x78f2
        add     w20, w20, w4
        add     w21, w21, w5
        add     w22, w22, w6
        add     w23, w23, w7
        add     w24, w24, w8
        add     w25, w25, w9
        add     w26, w26, w10
        add     w27, w27, w11
        ret

        .p2align 3
sha256_initial: .word 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19

// What kexec fills in. The schedule is 256 bytes, with room for the 32 of the digest behind it. Regions are pairs of address and bytes, closed by a pair of zeros.
arm64_kernel_entry:     .quad 0
arm64_dtb_addr:         .quad 0
purgatory_ttbr0:        .quad 0
sha256_schedule:        .quad 0
sha256_last_block:      .quad 0
sha256_digest:
        .rept 4
        .quad 0
        .endr
sha256_regions:
        .rept 34
        .quad 0
        .endr
clean_regions:
        .rept 36
        .quad 0
        .endr
