// A copy with ldp and stp, a line a turn, as tinymembench's "ARM LDP/STP copy". x0 destination, x1 source, x20 and x21
// what the copy before had touched last (destination, source), x22 its lines, x23 bytes of a slice, x24 slices.
start:
warm:                           // caches as that copy left them: its last lines, those of the destination dirty
    ldr x9, [x21]
    str x9, [x20]
    ldr x9, [x21, #64]
    str x9, [x20, #64]
    ldr x9, [x21, #128]
    str x9, [x20, #128]
    ldr x9, [x21, #192]
    str x9, [x20, #192]
    add x21, x21, #256
    add x20, x20, #256
    subs x22, x22, #4
    b.ne warm
slice:
    mov x2, x23
line:
    ldp x6, x7, [x1]
    ldp x8, x9, [x1, #16]
    ldp x10, x11, [x1, #32]
    ldp x12, x13, [x1, #48]
    add x1, x1, #64
    stp x6, x7, [x0]
    stp x8, x9, [x0, #16]
    stp x10, x11, [x0, #32]
    stp x12, x13, [x0, #48]
    add x0, x0, #64
    subs x2, x2, #64
    b.ne line
slice_end:
    subs x24, x24, #1
    b.ne slice
    b finish
