"""Registers by name: the encodings of system registers, Unicorn's numbers, and what E2H = 1 makes of names at EL2."""

from collections.abc import Mapping
from typing import NamedTuple

from unicorn import arm64_const

from traces.errors import InputError


class SystemRegister(NamedTuple):
    """The encoding of a system register, in the order that Unicorn's CP_REG takes."""

    crn: int
    crm: int
    op0: int
    op1: int
    op2: int


def _levels(names: str, crn: int, crm: int, op2: int) -> dict[str, SystemRegister]:
    """Encode the EL1 (op1 0), EL2 (op1 4) and EL12 (op1 5) forms of one register."""
    return {
        f"{names}_{level}": SystemRegister(crn, crm, 3, op1, op2)
        for level, op1 in (("EL1", 0), ("EL2", 4), ("EL12", 5))
    }


# Arm ARM C5.2 and D19.2. Only what the machine itself and the guests of this project name.
SYSTEM_REGISTERS: Mapping[str, SystemRegister] = {
    **_levels("SCTLR", 1, 0, 0),
    **_levels("AFSR0", 5, 1, 0),
    **_levels("AFSR1", 5, 1, 1),
    **_levels("ESR", 5, 2, 0),
    **_levels("FAR", 6, 0, 0),
    **_levels("TTBR0", 2, 0, 0),
    **_levels("TTBR1", 2, 0, 1),
    **_levels("TCR", 2, 0, 2),
    **_levels("MAIR", 10, 2, 0),
    **_levels("AMAIR", 10, 3, 0),
    **_levels("VBAR", 12, 0, 0),
    **_levels("CONTEXTIDR", 13, 0, 1),
    **_levels("SPSR", 4, 0, 0),
    **_levels("ELR", 4, 0, 1),
    "CPACR_EL1": SystemRegister(1, 0, 3, 0, 2),
    "CPACR_EL12": SystemRegister(1, 0, 3, 5, 2),
    "CPTR_EL2": SystemRegister(1, 1, 3, 4, 2),
    "CNTKCTL_EL1": SystemRegister(14, 1, 3, 0, 0),
    "CNTKCTL_EL12": SystemRegister(14, 1, 3, 5, 0),
    "CNTHCTL_EL2": SystemRegister(14, 1, 3, 4, 0),
    "HCR_EL2": SystemRegister(1, 1, 3, 4, 0),
    "MDCR_EL2": SystemRegister(1, 1, 3, 4, 1),
    "HSTR_EL2": SystemRegister(1, 1, 3, 4, 3),
    "VTTBR_EL2": SystemRegister(2, 1, 3, 4, 0),
    "VTCR_EL2": SystemRegister(2, 1, 3, 4, 2),
    "HPFAR_EL2": SystemRegister(6, 0, 3, 4, 4),
    "VPIDR_EL2": SystemRegister(0, 0, 3, 4, 0),
    "VMPIDR_EL2": SystemRegister(0, 0, 3, 4, 5),
    "TPIDR_EL2": SystemRegister(13, 0, 3, 4, 2),
    "SCR_EL3": SystemRegister(1, 1, 3, 6, 0),
    "TPIDR_EL0": SystemRegister(13, 0, 3, 3, 2),
    "TPIDRRO_EL0": SystemRegister(13, 0, 3, 3, 3),
    "TPIDR_EL1": SystemRegister(13, 0, 3, 0, 4),
    "PAR_EL1": SystemRegister(7, 4, 3, 0, 0),
    "MDSCR_EL1": SystemRegister(2, 2, 2, 0, 2),
    "CSSELR_EL1": SystemRegister(0, 0, 3, 2, 0),
    "CCSIDR_EL1": SystemRegister(0, 0, 3, 1, 0),
    "CLIDR_EL1": SystemRegister(0, 0, 3, 1, 1),
    "CTR_EL0": SystemRegister(0, 0, 3, 3, 1),
    "DCZID_EL0": SystemRegister(0, 0, 3, 3, 7),
    "MIDR_EL1": SystemRegister(0, 0, 3, 0, 0),
    "MPIDR_EL1": SystemRegister(0, 0, 3, 0, 5),
    "REVIDR_EL1": SystemRegister(0, 0, 3, 0, 6),
    "ID_AA64PFR0_EL1": SystemRegister(0, 4, 3, 0, 0),
    "ID_AA64PFR1_EL1": SystemRegister(0, 4, 3, 0, 1),
    "ID_AA64DFR0_EL1": SystemRegister(0, 5, 3, 0, 0),
    "ID_AA64DFR1_EL1": SystemRegister(0, 5, 3, 0, 1),
    "ID_AA64ISAR0_EL1": SystemRegister(0, 6, 3, 0, 0),
    "ID_AA64ISAR1_EL1": SystemRegister(0, 6, 3, 0, 1),
    "ID_AA64MMFR0_EL1": SystemRegister(0, 7, 3, 0, 0),
    "ID_AA64MMFR1_EL1": SystemRegister(0, 7, 3, 0, 1),
    "ID_AA64MMFR2_EL1": SystemRegister(0, 7, 3, 0, 2),
    "CNTFRQ_EL0": SystemRegister(14, 0, 3, 3, 0),
    "CNTPCT_EL0": SystemRegister(14, 0, 3, 3, 1),
    "CNTVCT_EL0": SystemRegister(14, 0, 3, 3, 2),
}

NAMES: Mapping[SystemRegister, str] = {encoding: name for name, encoding in SYSTEM_REGISTERS.items()}

E2H_REDIRECTED: Mapping[str, str] = {
    **{
        f"{name}_EL1": f"{name}_EL2"
        for name in (
            *("SCTLR", "AFSR0", "AFSR1", "ESR", "FAR", "TTBR0", "TTBR1", "TCR"),
            *("MAIR", "AMAIR", "VBAR", "CONTEXTIDR", "SPSR", "ELR"),
        )
    },
    "CPACR_EL1": "CPTR_EL2",
    "CNTKCTL_EL1": "CNTHCTL_EL2",
}
"""What an EL1 name means at EL2 while HCR_EL2.E2H is 1 (Arm ARM D13.1.4, table D1-28)."""

E2H_ALIASES: Mapping[str, str] = {f"{name}2": name for name in E2H_REDIRECTED}
"""The _EL12 names: EL1's own registers from EL2 with E2H = 1; UNDEFINED elsewhere."""

X: tuple[int, ...] = (
    *range(arm64_const.UC_ARM64_REG_X0, arm64_const.UC_ARM64_REG_X0 + 29),
    arm64_const.UC_ARM64_REG_X29,
    arm64_const.UC_ARM64_REG_X30,
    arm64_const.UC_ARM64_REG_SP,
)
"""Unicorn's number of X0..X30 and, at 31, of the current SP."""

V: tuple[int, ...] = tuple(range(arm64_const.UC_ARM64_REG_Q0, arm64_const.UC_ARM64_REG_Q0 + 32))
"""Unicorn's number of V0..V31."""

BANKED_SP: tuple[int, ...] = (
    arm64_const.UC_ARM64_REG_SP_EL0,
    arm64_const.UC_ARM64_REG_SP_EL1,
    arm64_const.UC_ARM64_REG_SP_EL2,
)
"""Unicorn's number of SP_EL0, SP_EL1, SP_EL2; the one in use is only right in SP itself."""


def encoding(name: str) -> SystemRegister:
    """Return the encoding of a system register; InputError if the name is not known."""
    if name not in SYSTEM_REGISTERS:
        raise InputError(f"system register {name!r}: not known; known: {', '.join(sorted(SYSTEM_REGISTERS))}")
    return SYSTEM_REGISTERS[name]


def name_of(sysreg: tuple[int, int, int, int, int]) -> str:
    """Name an encoding as the decoder gives it: op0, op1, CRn, CRm, op2; as S3_0_C1_C0_0 when it has no name here."""
    op0, op1, crn, crm, op2 = sysreg
    return NAMES.get(SystemRegister(crn, crm, op0, op1, op2), f"S{op0}_{op1}_C{crn}_C{crm}_{op2}")
