// Four ways to copy x2 bytes (a multiple of 64) from x1 to x0. Enter at the one you mean:
//   relocscope run --elf examples/memcpy.S --entry copy_pairs --set program.args=0x80000000,0x84000000,0x100000 \
//       --set program.ram=0x80000000+128MiB
copy_bytes:                     // what a boot loader has before anyone looked
    ldrb w3, [x1], #1
    strb w3, [x0], #1
    subs x2, x2, #1
    b.ne copy_bytes
    ret

copy_words:
    ldr x3, [x1], #8
    str x3, [x0], #8
    subs x2, x2, #8
    b.ne copy_words
    ret

copy_pairs:                     // the kernel's copy_page, without the prefetch
    ldp x3, x4, [x1]
    ldp x5, x6, [x1, #16]
    ldp x7, x8, [x1, #32]
    ldp x9, x10, [x1, #48]
    stnp x3, x4, [x0]
    stnp x5, x6, [x0, #16]
    stnp x7, x8, [x0, #32]
    stnp x9, x10, [x0, #48]
    add x1, x1, #64
    add x0, x0, #64
    subs x2, x2, #64
    b.ne copy_pairs
    ret

copy_vectors:                   // 64 bytes by two loads; SIMD must be on (CPACR_EL1.FPEN)
    mrs x5, CurrentEL
    cmp x5, #4
    b.ne vectors                // at EL2 nothing traps it here
    mrs x5, cpacr_el1
    orr x5, x5, #0x300000
    msr cpacr_el1, x5
    isb
vectors:
    ldp q0, q1, [x1]
    ldp q2, q3, [x1, #32]
    stp q0, q1, [x0]
    stp q2, q3, [x0, #32]
    add x1, x1, #64
    add x0, x0, #64
    subs x2, x2, #64
    b.ne vectors
    ret
