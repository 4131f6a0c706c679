"""System instructions: hints, barriers, cache and TLB maintenance, system registers (Arm ARM C4.1.94, C5)."""

from asm.insn import (
    LINK_REGISTER,
    NO_FLAGS,
    STACK_POINTER,
    ZERO_REGISTER,
    Insn,
    MemoryOperand,
    Site,
    SystemRegister,
    bit,
    bits,
    register,
)
from traces.schema import FLAGS_REGISTER, Access, Barrier, InsnClass, InsnFlag, Maintenance

ZVA_BYTES = 64
"""What DC ZVA zeroes: DCZID_EL0.BS is 4 on every core we model, and in Unicorn."""

# DC and IC by (op1, CRm, op2), CRn = 7 (Arm ARM table C5-1). The memory-tagging forms that also work on data count as
# their plain namesakes; those that work on tags alone are left out.
_CACHE_OPERATIONS = {
    (0, 1, 0): Maintenance.IC_IALLUIS,
    (0, 5, 0): Maintenance.IC_IALLU,
    (3, 5, 1): Maintenance.IC_IVAU,
    (0, 6, 1): Maintenance.DC_IVAC,
    (0, 6, 2): Maintenance.DC_ISW,
    (0, 6, 5): Maintenance.DC_IVAC,
    (0, 6, 6): Maintenance.DC_ISW,
    (0, 10, 2): Maintenance.DC_CSW,
    (0, 10, 6): Maintenance.DC_CSW,
    (0, 14, 2): Maintenance.DC_CISW,
    (0, 14, 6): Maintenance.DC_CISW,
    (3, 4, 1): Maintenance.DC_ZVA,
    (3, 4, 4): Maintenance.DC_ZVA,
    (3, 10, 1): Maintenance.DC_CVAC,
    (3, 10, 5): Maintenance.DC_CVAC,
    (3, 11, 1): Maintenance.DC_CVAU,
    (3, 12, 1): Maintenance.DC_CVAP,
    (3, 12, 5): Maintenance.DC_CVAP,
    (3, 13, 1): Maintenance.DC_CVAP,
    (3, 13, 5): Maintenance.DC_CVAP,
    (3, 14, 1): Maintenance.DC_CIVAC,
    (3, 14, 5): Maintenance.DC_CIVAC,
}

_BY_VA = frozenset(
    {
        Maintenance.DC_IVAC,
        Maintenance.DC_CVAC,
        Maintenance.DC_CVAU,
        Maintenance.DC_CIVAC,
        Maintenance.DC_CVAP,
        Maintenance.IC_IVAU,
    }
)

# TLBI by (op1, op2) where CRm is 7 (this PE), 3 (Inner Shareable) or 1 (Outer Shareable): local kind, broadcast kind.
_TLB_OPERATIONS = {
    (0, 0): (Maintenance.TLBI_VMALLE1, Maintenance.TLBI_VMALLE1IS),
    (0, 1): (Maintenance.TLBI_VAE1, Maintenance.TLBI_VAE1),
    (0, 2): (Maintenance.TLBI_ASIDE1, Maintenance.TLBI_ASIDE1),
    (0, 3): (Maintenance.TLBI_VAAE1, Maintenance.TLBI_VAAE1),
    (0, 5): (Maintenance.TLBI_VALE1, Maintenance.TLBI_VALE1),
    (0, 7): (Maintenance.TLBI_VAALE1, Maintenance.TLBI_VAALE1),
    (4, 0): (Maintenance.TLBI_ALLE2, Maintenance.TLBI_ALLE2IS),
    (4, 1): (Maintenance.TLBI_VAE2, Maintenance.TLBI_VAE2),
    (4, 4): (Maintenance.TLBI_ALLE1, Maintenance.TLBI_ALLE1IS),
    (4, 5): (Maintenance.TLBI_VALE2, Maintenance.TLBI_VALE2),
    (4, 6): (Maintenance.TLBI_VMALLS12E1, Maintenance.TLBI_VMALLS12E1IS),
}

# (CRn, CRm, op2) of registers that govern translation, memory types or what an exception fetches, at op0 = 3 and op1
# 0 (EL1), 4 (EL2), 5 (EL12) or 6 (EL3).
_REGIME_REGISTERS = frozenset(
    {
        (1, 0, 0),  # SCTLR
        (1, 0, 3),  # SCTLR2
        (2, 0, 0),  # TTBR0
        (2, 0, 1),  # TTBR1
        (2, 0, 2),  # TCR
        (2, 0, 3),  # TCR2
        (10, 2, 0),  # MAIR
        (10, 2, 1),  # MAIR2 of EL2's numbering
        (12, 0, 0),  # VBAR
        (13, 0, 1),  # CONTEXTIDR: an ASID-tagged regime changes with it on AArch32 only, but it is cheap to follow
    }
)
_REGIME_LEVELS = frozenset({0, 4, 5, 6})
_HYPERVISOR_REGISTERS = frozenset(
    {
        (3, 4, 1, 1, 0),  # HCR_EL2
        (3, 4, 1, 2, 2),  # HCRX_EL2
        (3, 4, 2, 1, 0),  # VTTBR_EL2
        (3, 4, 2, 1, 2),  # VTCR_EL2
    }
)

_HINT_SIGNS = {  # CRm:op2 of pointer authentication in hint space: destination, modifier
    **dict.fromkeys((8, 10, 12, 14), (17, 16)),  # pacia1716, pacib1716, autia1716, autib1716
    **dict.fromkeys((24, 26, 28, 30), (LINK_REGISTER, None)),  # paciaz ...
    **dict.fromkeys((25, 27, 29, 31), (LINK_REGISTER, STACK_POINTER)),  # paciasp ...
    7: (LINK_REGISTER, None),  # xpaclri
}


def changes_regime(sysreg: SystemRegister) -> bool:
    """Say whether a write to the register changes how addresses translate, what memory is, or where vectors lie."""
    op0, op1, crn, crm, op2 = sysreg
    by_level = op0 == 3 and op1 in _REGIME_LEVELS and (crn, crm, op2) in _REGIME_REGISTERS
    return by_level or sysreg in _HYPERVISOR_REGISTERS


def reads_counter(sysreg: SystemRegister) -> bool:
    """Say whether a read of the register tells the guest how much time has passed or how many events have happened."""
    op0, op1, crn, crm, op2 = sysreg
    if op0 != 3 or crn not in (9, 14):
        return False
    if crn == 9:  # PMCCNTR_EL0, PMXEVCNTR_EL0, and the overflow flags PMOVSCLR_EL0, PMOVSSET_EL0
        return op1 == 3 and (crm, op2) in {(13, 0), (13, 2), (12, 3), (14, 3)}
    if op1 == 3 and crm in (8, 9, 10, 11):  # PMEVCNTR<n>_EL0
        return True
    if crm == 0:  # CNTPCT, CNTVCT and their self-synchronized forms, EL02 aliases too
        return op1 in (3, 5) and op2 in (1, 2, 5, 6)
    return crm in (2, 3, 4, 5) and op2 in (0, 1)  # TVAL counts down; CTL.ISTATUS says that a moment has passed


def system(site: Site) -> Insn:
    """Decode the system group: 1101 0101 00."""
    word = site.word
    op0, rt = bits(word, 20, 19), bits(word, 4, 0)
    sysreg = (op0, bits(word, 18, 16), bits(word, 15, 12), bits(word, 11, 8), bits(word, 7, 5))
    reads = bit(word, 21)
    if op0 == 0:
        undefined = reads or (rt != ZERO_REGISTER and sysreg[2] != 1)  # Capstone names these too
        return Insn(*site, InsnClass.OTHER) if undefined else _without_register(site)
    if op0 == 1:
        if reads:  # sysl
            return Insn(*site, InsnClass.SYSTEM_READ, dst=register(rt), sysreg=sysreg)
        return _maintenance(site, sysreg, rt)
    if reads:
        # FPCR, FPSR, DAIF and the like are plain reads; NZCV is a data dependence on the flags.
        src = (FLAGS_REGISTER,) if sysreg == (3, 3, 4, 2, 0) else ()
        flags = InsnFlag.READS_COUNTER if reads_counter(sysreg) else NO_FLAGS
        return Insn(*site, InsnClass.SYSTEM_READ, dst=register(rt), src=src, flags=flags, sysreg=sysreg)
    dst: tuple[int, ...] = ()
    flags = InsnFlag.CHANGES_REGIME if changes_regime(sysreg) else NO_FLAGS
    if sysreg == (3, 3, 4, 2, 0):
        dst, flags = (FLAGS_REGISTER,), InsnFlag.SETS_FLAGS
    elif sysreg == (3, 0, 4, 2, 0):  # SPSel: SP is another register from here on
        dst = (STACK_POINTER,)
    return Insn(*site, InsnClass.SYSTEM_WRITE, dst=dst, src=register(rt), flags=flags, sysreg=sysreg)


def _without_register(site: Site) -> Insn:
    """Decode op0 = 0: hints, barriers, and msr of a PSTATE field."""
    word = site.word
    op1, crn, crm, op2, rt = bits(word, 18, 16), bits(word, 15, 12), bits(word, 11, 8), bits(word, 7, 5), word & 31
    if crn == 3:
        return _barrier(site, crm, op2)
    if crn == 4:
        if op1 == 0 and op2 < 3:  # cfinv, xaflag, axflag
            flags = (FLAGS_REGISTER,)
            return Insn(*site, InsnClass.ALU, dst=flags, src=flags, flags=InsnFlag.SETS_FLAGS)
        dst = (STACK_POINTER,) if (op1, op2) == (0, 5) else ()  # SPSel
        return Insn(*site, InsnClass.SYSTEM_WRITE, dst=dst)
    if crn == 1:  # wfet, wfit
        return Insn(*site, InsnClass.HINT, src=register(rt))
    signed_register, modifier = _HINT_SIGNS.get(crm << 3 | op2, (None, None))
    if signed_register is None:
        return Insn(*site, InsnClass.HINT)
    src = (signed_register,) if modifier is None else (signed_register, modifier)
    return Insn(*site, InsnClass.HINT, dst=(signed_register,), src=src)


def _barrier(site: Site, crm: int, op2: int) -> Insn:
    kinds = {1: Barrier.DSB, 2: Barrier.CLREX, 4: Barrier.DSB, 5: Barrier.DMB, 6: Barrier.ISB, 7: Barrier.SB}
    if op2 not in kinds:
        return Insn(*site, InsnClass.HINT)
    # dsb ...nXS (op2 1) has its domain in CRm[3:2]; as an option it is the plain dsb of that domain.
    option = crm | 3 if op2 == 1 else crm
    return Insn(*site, InsnClass.BARRIER, barrier=kinds[op2], barrier_option=option)


def _maintenance(site: Site, sysreg: SystemRegister, rt: int) -> Insn:
    """Decode sys: dc, ic, at, tlbi, or something of the implementer's own."""
    kind = _maintenance_kind(sysreg)
    src = register(rt)
    if kind is Maintenance.NONE:
        return Insn(*site, InsnClass.SYSTEM_WRITE, src=src, sysreg=sysreg)
    # A line named by XZR is at address 0: there is no register to capture, and no such line is worth following.
    memory = MemoryOperand(rt) if src else None
    zeroes = kind is Maintenance.DC_ZVA
    if memory is None or not (zeroes or kind in _BY_VA):
        return Insn(*site, InsnClass.MAINTENANCE, src=src, maintenance=kind, sysreg=sysreg)
    return Insn(
        *site,
        InsnClass.MAINTENANCE,
        src=src,
        access=Access.ZERO if zeroes else Access.MAINTAIN,
        size=ZVA_BYTES if zeroes else 0,
        element=1,
        memory=memory,
        maintenance=kind,
        sysreg=sysreg,
    )


def _maintenance_kind(sysreg: SystemRegister) -> Maintenance:
    _, op1, crn, crm, op2 = sysreg
    if crn == 7:
        if crm in (8, 9) and op1 in (0, 4, 6):
            return Maintenance.AT
        return _CACHE_OPERATIONS.get((op1, crm, op2), Maintenance.NONE)
    if crn in (8, 9):  # 9: the nXS forms
        local, broadcast = _TLB_OPERATIONS.get((op1, op2), (Maintenance.TLBI_OTHER, Maintenance.TLBI_OTHER))
        if crm == 7:
            return local
        return broadcast if crm in (1, 3) else Maintenance.TLBI_OTHER
    return Maintenance.NONE
