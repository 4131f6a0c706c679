// Random reads over buffers of doubling size. The next address depends on the data before it, so a step takes load to
// use; the buffer reads as zero. x19 buffer, x20 and x21 first and last size, x22 and x23 steps to warm and to measure,
// x6 and x7 multiplier and increment of the generator.
start:
    mov x5, #1
    mov x1, x19
    mov x10, #56                // eight words of one line: what a step takes when it hits L1D
    mov x4, x22
    bl chase
alone:
    mov x4, x23
    bl chase
alone_end:
    mov x2, x20
size:
    add x3, x19, x2
touch:                          // the lines that the size before had not
    ldr x9, [x1]
    ldr x9, [x1, #64]
    ldr x9, [x1, #128]
    ldr x9, [x1, #192]
    ldr x9, [x1, #256]
    ldr x9, [x1, #320]
    ldr x9, [x1, #384]
    ldr x9, [x1, #448]
    add x1, x1, #512
    cmp x1, x3
    b.ne touch
    sub x10, x2, #8
    mov x4, x22
    bl chase
measured:
    mov x4, x23
    bl chase
measured_end:
    lsl x2, x2, #1
    cmp x2, x21
    b.ls size
    b finish

chase:
    madd x5, x5, x6, x7
    and x8, x10, x5, lsr #33
    ldr x9, [x19, x8]
    orr x5, x5, x9
    subs x4, x4, #1
    b.ne chase
    ret
