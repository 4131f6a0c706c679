// What resuming from hibernation does: copy pages to where they were, in the order of a list of {copy, original, next}.
// x0 first original page, x1 first copy, x2 pages, x3 memory for the list (24 bytes a page, all of it RAM):
//   relocscope explain program:examples/restore.S@restore program:examples/restore.S@restore \
//       --set program.args=0x80000000,0x84000000,256,0x88000000 --set program.ram=0x80000000+256MiB --set b.program.mmu=on
restore:
    mov x4, x3
    mov x5, x2
    mov x12, #0x1000000
list:                           // the kernel that suspended left this list; pages alternate between two halves of memory
    tst x5, #1
    csel x6, x1, xzr, eq
    cbnz x6, even
    add x6, x1, x12
even:
    stp x6, x0, [x4]
    add x7, x4, #24
    subs x5, x5, #1
    csel x7, x7, xzr, ne
    str x7, [x4, #16]
    add x0, x0, #4096
    add x1, x1, #4096
    add x4, x4, #24
    cbnz x5, list
entry:
    ldp x1, x0, [x3]
    mov x2, #4096
page:
    ldp x4, x5, [x1], #16
    ldp x6, x7, [x1], #16
    ldp x8, x9, [x1], #16
    ldp x10, x11, [x1], #16
    stnp x4, x5, [x0]
    stnp x6, x7, [x0, #16]
    stnp x8, x9, [x0, #32]
    stnp x10, x11, [x0, #48]
    add x0, x0, #64
    subs x2, x2, #64
    b.ne page
    ldr x3, [x3, #16]
    cbnz x3, entry
    ret
