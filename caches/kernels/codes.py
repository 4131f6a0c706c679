"""The trace's own codes (`traces.schema`) as plain numbers: Numba does not know IntEnum members of other modules."""

from traces.schema import Access, Barrier, EpochCause, InsnClass, Maintenance, Mark, MemoryType

B_COND, B_INDIRECT = int(InsnClass.BRANCH_CONDITIONAL), int(InsnClass.BRANCH_INDIRECT)
CLS_BARRIER, CLS_MAINTENANCE = int(InsnClass.BARRIER), int(InsnClass.MAINTENANCE)
SYSTEM_WRITE, CLS_ERET = int(InsnClass.SYSTEM_WRITE), int(InsnClass.ERET)

LOAD, LOAD_STORE = int(Access.LOAD), int(Access.LOAD_STORE)
ZERO = int(Access.ZERO)

DSB, DMB, ISB, SB = int(Barrier.DSB), int(Barrier.DMB), int(Barrier.ISB), int(Barrier.SB)

DC_IVAC, DC_CVAC, DC_CVAU = int(Maintenance.DC_IVAC), int(Maintenance.DC_CVAC), int(Maintenance.DC_CVAU)
DC_CIVAC, DC_CVAP = int(Maintenance.DC_CIVAC), int(Maintenance.DC_CVAP)
DC_ISW, DC_CSW, DC_CISW = int(Maintenance.DC_ISW), int(Maintenance.DC_CSW), int(Maintenance.DC_CISW)
IC_IALLU, IC_IALLUIS, IC_IVAU = int(Maintenance.IC_IALLU), int(Maintenance.IC_IALLUIS), int(Maintenance.IC_IVAU)
TLBI_VMALLE1, TLBI_VMALLE1IS = int(Maintenance.TLBI_VMALLE1), int(Maintenance.TLBI_VMALLE1IS)
TLBI_VMALLS12E1, TLBI_VMALLS12E1IS = int(Maintenance.TLBI_VMALLS12E1), int(Maintenance.TLBI_VMALLS12E1IS)
TLBI_VAE1, TLBI_VALE1, TLBI_VAALE1 = (
    int(Maintenance.TLBI_VAE1),
    int(Maintenance.TLBI_VALE1),
    int(Maintenance.TLBI_VAALE1),
)
TLBI_ASIDE1, TLBI_OTHER = int(Maintenance.TLBI_ASIDE1), int(Maintenance.TLBI_OTHER)
TLBI_VAE2, TLBI_VALE2 = int(Maintenance.TLBI_VAE2), int(Maintenance.TLBI_VALE2)
AT = int(Maintenance.AT)
TLBI_ALLE2, TLBI_ALLE2IS = int(Maintenance.TLBI_ALLE2), int(Maintenance.TLBI_ALLE2IS)
TLBI_ALLE1, TLBI_ALLE1IS = int(Maintenance.TLBI_ALLE1), int(Maintenance.TLBI_ALLE1IS)

NGNRE, GRE, NC = int(MemoryType.DEVICE_NGNRE), int(MemoryType.DEVICE_GRE), int(MemoryType.NORMAL_NC)
WT, WB = int(MemoryType.NORMAL_WT), int(MemoryType.NORMAL_WB)

MARK_EPOCH, MARK_TRUNCATE, MARK_EXCEPTION = int(Mark.EPOCH), int(Mark.TRUNCATE), int(Mark.EXCEPTION)

# EpochCauses that leave the pipeline alone: the store that made them did not synchronise anything.
QUIET_CAUSE = int(EpochCause.TABLE_STORE)
