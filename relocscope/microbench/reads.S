// Reads in order, by width: 8 bytes (ldr x), 16 (ldp x), 32 (ldp q), 64 (ld1 of four q). x19 buffer, x20 its bytes.
start:
    mov x1, x19
    mov x2, x20
width_8:
    ldr x3, [x1]
    ldr x4, [x1, #8]
    ldr x5, [x1, #16]
    ldr x6, [x1, #24]
    ldr x7, [x1, #32]
    ldr x8, [x1, #40]
    ldr x9, [x1, #48]
    ldr x10, [x1, #56]
    add x1, x1, #64
    subs x2, x2, #64
    b.ne width_8
end_8:
    mov x1, x19
    mov x2, x20
    b width_16
width_16:
    ldp x3, x4, [x1]
    ldp x5, x6, [x1, #16]
    ldp x7, x8, [x1, #32]
    ldp x9, x10, [x1, #48]
    add x1, x1, #64
    subs x2, x2, #64
    b.ne width_16
end_16:
    mov x1, x19
    mov x2, x20
    b width_32
width_32:
    ldp q0, q1, [x1]
    ldp q2, q3, [x1, #32]
    add x1, x1, #64
    subs x2, x2, #64
    b.ne width_32
end_32:
    mov x1, x19
    mov x2, x20
    b width_64
width_64:
    ld1 {v0.2d, v1.2d, v2.2d, v3.2d}, [x1]
    add x1, x1, #64
    subs x2, x2, #64
    b.ne width_64
end_64:
    b finish
