// A fill with stp, a line a turn, as tinymembench's "ARM STP fill". x0 destination, x20 what the fill before had touched
// last, x22 its lines, x23 bytes of a slice, x24 slices.
start:
    mov x6, #-1
    mov x7, #-1
warm:
    str x6, [x20]
    str x6, [x20, #64]
    str x6, [x20, #128]
    str x6, [x20, #192]
    add x20, x20, #256
    subs x22, x22, #4
    b.ne warm
slice:
    mov x2, x23
line:
    stp x6, x7, [x0]
    stp x6, x7, [x0, #16]
    stp x6, x7, [x0, #32]
    stp x6, x7, [x0, #48]
    add x0, x0, #64
    subs x2, x2, #64
    b.ne line
slice_end:
    subs x24, x24, #1
    b.ne slice
    b finish
