"""A GDB server for a stepping session.

`packets` is the framing, `description` the registers, `resuming` steps and stops, `monitor` the session's own commands,
`stub` the answers, `server` the socket. The protocol: "Debugging with GDB", appendix "GDB Remote Serial Protocol".
"""
