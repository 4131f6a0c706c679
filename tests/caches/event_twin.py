"""An event-driven twin of the timing model: what happens, when it happens, in the order of time.

The fast model visits instructions once, in program order, and reserves slots in calendars. This one keeps a heap of
events and a window of instructions, and knows nothing of the fast model but the configuration that both are given. It
is written to be obviously right for what it covers, and covers what the comparison needs: window, ports and latencies,
branches, a cache of two LRU levels with miss buffers, DRAM with a latency and a bus, the store buffer, Device accesses,
DC by VA, DSB, ISB and system register accesses. Translation is taken from the trace and free, and so is fetching.

DEVIATIONS.md says where the two differ on purpose.
"""

import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass
from itertools import count

from event_program import BRANCHES, program

from traces.schema import NO_REGISTER, Barrier, InsnClass, InsnFlag, Maintenance, MemoryType


@dataclass(eq=False)
class Entry:
    """A store buffer entry: stores to one block, or one maintenance operation. Taken at dispatch, freed in order."""

    block: int | None
    waiting: int = 1  # stores in it that have not retired or not arrived
    maintenance: object = None


class Sets:
    """LRU sets of lines: line -> dirty. The first of a set is the oldest."""

    def __init__(self, level):
        self.ways, self.sets = level.ways, [OrderedDict() for _ in range(level.sets)]

    def of(self, line):
        return self.sets[line % len(self.sets)]

    def use(self, line):
        if line in self.of(line):
            self.of(line).move_to_end(line)
            return True
        return False

    def insert(self, line, dirty):
        """Returns the (line, dirty) that had to go, or None."""
        lines = self.of(line)
        gone = None
        if line not in lines and len(lines) == self.ways:
            gone = lines.popitem(last=False)
        lines[line] = lines.get(line, False) or dirty
        lines.move_to_end(line)
        return gone

    def drop(self, line):
        return self.of(line).pop(line, False)


class Slots:
    """So many requests at once; the rest queue."""

    def __init__(self, count):
        self.free, self.queue = count, deque()

    def take(self, start):
        if self.free:
            self.free -= 1
            start()
        else:
            self.queue.append(start)

    def release(self):
        if self.queue:
            self.queue.popleft()()
        else:
            self.free += 1


class Twin:
    """Run with `Twin(trace, config).run()`; returns the cycle of the last retirement."""

    def __init__(self, trace, config):
        assert config.l3.size == 0
        self.config, self.pipeline = config, config.pipeline
        self.cycles = config.cycles
        self.insns = deque(program(trace))
        self.events, self.order, self.ticks = [], count(), set()
        self.now = self.last_retirement = 0
        # The window, and what waits for a port.
        self.window, self.writers, self.block_until, self.blocker = deque(), {}, 0, None
        self.unresolved = deque()  # branches, where they resolve in order
        p = self.pipeline
        self.ports = {
            "alu": [0] * p.alu_ports, "multi": [0] * p.multi_ports, "load": [0] * p.load_ports,
            "store": [0] * p.store_ports, "vector": [0] * p.vector_ports, "branch": [0] * p.branch_ports, "none": None,
        }  # fmt: skip
        # Memory.
        self.l1, self.l2 = Sets(config.l1d), Sets(config.l2)
        self.l1_slots, self.l2_slots = Slots(config.l1d.miss_buffers), Slots(config.l2.miss_buffers)
        self.l2_free_at = 0
        self.pending = {}  # line -> what is to be called when it arrives
        self.bus_free_at = [0.0] * config.dram.channels
        self.device_reads, self.device_writes = (
            Slots(config.device.outstanding_reads),
            Slots(config.device.outstanding_writes),
        )
        self.device_stores = 0
        # Stores.
        self.buffer, self.entry_of, self.youngest = deque(), {}, None
        self.dc_slots, self.dc_next, self.dc_running = Slots(config.maintenance.dc_outstanding), 0, 0
        self.acknowledged = 0

    # --- Time ---------------------------------------------------------------------------------------------------------

    def at(self, cycle, action, *given):
        heapq.heappush(self.events, (cycle, next(self.order), action, given))

    def wake(self, cycle):
        if cycle not in self.ticks:
            self.ticks.add(cycle)
            # Behind everything else of that cycle.
            heapq.heappush(self.events, (cycle, 1 << 62, self.tick, ()))

    def run(self):
        self.wake(0)
        while self.events:
            self.now, _, action, given = heapq.heappop(self.events)
            action(*given)
        assert not self.insns
        assert not self.window
        assert not self.buffer
        return self.last_retirement

    def tick(self):
        self.ticks.discard(self.now)
        progress = [step() for step in (self.retire, self.drain, self.dispatch, self.issue, self.head)]
        if any(progress):
            self.wake(self.now + 1)

    # --- The pipeline -------------------------------------------------------------------------------------------------

    def dispatch(self):
        placed = 0
        while self.insns and placed < self.pipeline.dispatch_width and self.has_room(self.insns[0]):
            insn = self.insns.popleft()
            placed += 1
            self.window.append(insn)
            self.rename(insn)
            if insn.stores or insn.maintains or insn.cls == InsnClass.MAINTENANCE:
                self.take_entry(insn)
            if insn.cls in BRANCHES:
                self.unresolved.append(insn)
            serialises = insn.cls == InsnClass.SYSTEM_WRITE or (
                insn.cls == InsnClass.BARRIER and insn.static["barrier"] in (Barrier.DSB, Barrier.ISB)
            )
            if insn.mispredicted or serialises:
                self.blocker = insn
        return placed

    def has_room(self, insn):
        if len(self.window) == self.pipeline.rob_entries or self.blocker is not None or self.now < self.block_until:
            return False
        takes = insn.stores or insn.cls == InsnClass.MAINTENANCE
        return not takes or self.merges(insn) or len(self.buffer) < self.config.store.buffer_entries

    def rename(self, insn):
        """Note who writes what the instruction reads. The base of an indexed access is written by its address."""
        static = insn.static
        reads = [int(register) for register in static["src"] if register != NO_REGISTER]
        writes = [int(register) for register in static["dst"] if register != NO_REGISTER]
        insn.sources = [self.writers[register] for register in reads if register in self.writers]
        indexed = int(static["flags"]) & InsnFlag.WRITEBACK
        for register in writes:
            self.writers[register] = (insn, bool(indexed and register in reads))

    def ready(self, insn):
        for writer, early in insn.sources:
            when = writer.address_ready if early else writer.done
            if when is None or when > self.now:
                return False
        return True

    def place_of(self, insn):
        """Port group, latency, and how long the port is held."""
        p, size = self.pipeline, int(insn.static["size"])
        if insn.loads:
            return "load", 1, max(1, -(-size // p.load_bytes_per_cycle))
        if insn.stores or insn.cls == InsnClass.MAINTENANCE:
            return "store", 1, max(1, -(-size // p.store_bytes_per_cycle))
        table = {
            InsnClass.ALU: ("alu", p.alu_cycles, 1), InsnClass.ALU_SHIFT: ("multi", p.alu_shift_cycles, 1),
            InsnClass.MUL: ("multi", p.multiply_cycles, 1), InsnClass.DIV: ("multi", p.divide_cycles, p.divide_cycles),
            InsnClass.BRANCH: ("branch", 1, 1), InsnClass.BRANCH_CONDITIONAL: ("branch", 1, 1),
            InsnClass.BRANCH_INDIRECT: ("branch", 1, 1), InsnClass.SYSTEM_READ: ("multi", p.system_read_cycles, 1),
            InsnClass.SIMD: ("vector", p.vector_cycles, 1),
        }  # fmt: skip
        return table.get(insn.cls, ("none", 1, 0))

    def issue(self):
        """Oldest first, whoever is ready and finds a port; an in-order core stops at the first who is not."""
        issued = 0
        for insn in self.window:
            if insn.issued is not None:
                continue
            group, latency, held = self.place_of(insn)
            if self.ready(insn) and (insn.cls not in BRANCHES or self.may_resolve(insn)) and self.port(group, held):
                insn.issued = insn.address_ready = self.now
                insn.address_ready += 1
                issued += 1
                self.execute(insn, latency)
            elif self.pipeline.in_order:
                break
            if self.pipeline.in_order and issued == self.pipeline.dispatch_width:
                break
        return issued

    def port(self, group, held):
        ports = self.ports[group]
        if ports is None:
            return True
        for at, free_at in enumerate(ports):
            if free_at <= self.now:
                ports[at] = self.now + held
                self.wake(self.now + held)
                return True
        return False

    def may_resolve(self, insn):
        return not (self.config.branch.in_order_untranslated and insn.untranslated) or self.unresolved[0] is insn

    def execute(self, insn, latency):
        if insn.cls in (InsnClass.BARRIER, InsnClass.SYSTEM_WRITE) or (insn.loads and insn.is_device):
            return  # `head` carries these out
        if insn.loads:
            self.load(insn)
            return
        if insn.cls in BRANCHES:
            self.unresolved.remove(insn)
            if insn.mispredicted:
                self.unblock(insn, self.now + 1 + self.config.branch.mispredict_cycles)
        self.finish(insn, self.now + latency)

    def finish(self, insn, cycle):
        insn.done = cycle
        self.wake(cycle)

    def unblock(self, insn, cycle):
        if self.blocker is insn:
            self.blocker, self.block_until = None, cycle
            self.wake(cycle)

    def head(self):
        """What only the oldest instruction may do: Device loads, barriers, system register writes."""
        if not self.window or self.window[0].issued is None or self.window[0].begun:
            return False
        insn = self.window[0]
        if insn.loads and insn.is_device:
            assert insn.kind == MemoryType.DEVICE_NGNRNE
            if self.device_stores and self.config.device.load_waits_for_stores:
                return False
            self.device_reads.take(lambda: self.device_load(insn, self.pieces(insn)))
        elif insn.cls == InsnClass.SYSTEM_WRITE:
            self.finish(insn, self.now + self.pipeline.system_write_cycles)
            self.unblock(insn, insn.done)
        elif insn.cls == InsnClass.BARRIER:
            if insn.static["barrier"] == Barrier.DSB:
                if self.buffer or self.dc_running or self.device_stores:
                    return False
                self.finish(insn, max(self.now, self.acknowledged) + self.config.maintenance.dsb_cycles)
            else:
                assert insn.static["barrier"] == Barrier.ISB
                self.finish(insn, self.now + max(1, self.cycles(self.config.maintenance.isb_ns)))
            self.unblock(insn, insn.done)
        else:
            return False
        insn.begun = True
        return True

    def retire(self):
        retired = 0
        while self.window and retired < self.pipeline.retire_width:
            insn = self.window[0]
            if insn.done is None or insn.done > self.now:
                break
            self.window.popleft()
            self.last_retirement = self.now
            retired += 1
            if insn.stores:
                self.store(insn)
            elif insn.cls == InsnClass.MAINTENANCE:
                self.entry_of.pop(insn).waiting = 0
        return retired

    # --- Device -------------------------------------------------------------------------------------------------------

    def pieces(self, insn):
        return max(1, -(-int(insn.static["size"]) // self.config.device.access_bytes))

    def device_load(self, insn, pieces):
        """One piece after the other."""
        trip = self.cycles(self.config.device.round_trip_ns)
        if pieces == 1:
            self.at(self.now + trip, self.device_reads.release)
            self.finish(insn, self.now + trip)
        else:
            self.at(self.now + trip, self.device_load, insn, pieces - 1)

    def device_store(self, entry, pieces):
        def started():
            self.at(self.now + self.cycles(self.config.device.round_trip_ns), acknowledged)

        def acknowledged():
            self.device_writes.release()
            self.device_stores -= 1
            self.arrived(entry)

        entry.waiting += pieces - 1
        self.device_stores += pieces
        for _ in range(pieces):
            self.device_writes.take(started)

    # --- The store buffer ---------------------------------------------------------------------------------------------

    def block_of(self, insn):
        return insn.va // self.config.store.merge_bytes

    def merges(self, insn):
        last = self.youngest
        return (
            insn.stores and not insn.is_device and self.config.store.merge_bytes > 8
            and last is not None and last in self.buffer and last.block == self.block_of(insn)
        )  # fmt: skip

    def take_entry(self, insn):
        if self.merges(insn):
            self.youngest.waiting += 1
        else:
            block = self.block_of(insn) if insn.stores and not insn.is_device else None
            self.youngest = Entry(block, maintenance=insn if insn.cls == InsnClass.MAINTENANCE else None)
            self.buffer.append(self.youngest)
        self.entry_of[insn] = self.youngest

    def store(self, insn):
        """A store retires: its line is asked for at once; its entry is freed in order."""
        entry = self.entry_of.pop(insn)
        if insn.is_device:
            self.device_store(entry, self.pieces(insn))
            return
        lines = range(insn.pa >> 6, ((insn.pa + int(insn.static["size"]) - 1) >> 6) + 1)
        entry.waiting += len(lines) - 1
        for line in lines:

            def written(line=line):
                self.insert_l1(line, dirty=True)
                self.arrived(entry)

            if self.l1.use(line):
                written()
            else:
                self.miss(line, written)

    def arrived(self, entry):
        entry.waiting -= 1
        self.wake(self.now)

    def drain(self):
        """Free entries from the oldest on; a DC begins when it is the oldest."""
        freed = 0
        while self.buffer and self.buffer[0].waiting == 0:
            entry = self.buffer[0]
            if entry.maintenance is not None:
                self.begin_maintenance(entry)
                break
            self.buffer.popleft()
            freed += 1
        return freed

    def begin_maintenance(self, entry):
        entry.waiting = 1
        self.dc_slots.take(lambda: self.at(max(self.now, self.dc_next), self.maintain, entry))

    def maintain(self, entry):
        cost, line = self.config.maintenance, entry.maintenance.pa >> 6
        invalidates = entry.maintenance.static["maintenance"] != Maintenance.DC_CVAC
        dirty = [level.of(line).get(line, False) for level in (self.l1, self.l2)]
        for level in (self.l1, self.l2):
            if invalidates:
                level.drop(line)
            elif line in level.of(line):
                level.of(line)[line] = False
        self.dc_next = self.now + cost.dc_interval_cycles
        asked = self.config.l2.hit_cycles
        discards = entry.maintenance.static["maintenance"] == Maintenance.DC_IVAC and not cost.ivac_cleans
        if any(dirty) and not discards:
            self.at(self.now + asked, self.write_back, line, self.now + cost.dc_dirty_cycles)
        else:
            self.at(self.now + max(cost.dc_clean_cycles, asked), self.maintained)
        self.dc_running += 1
        self.at(self.dc_next, self.arrived, entry)
        entry.maintenance = None

    def write_back(self, line, earliest):
        self.at(max(earliest, self.bus(line) + self.cycles(self.config.store.write_ack_ns)), self.maintained)

    def maintained(self):
        self.dc_running -= 1
        self.dc_slots.release()
        self.wake(self.now)

    # --- The caches and memory ----------------------------------------------------------------------------------------

    def load(self, insn):
        """Carry out a load from cacheable memory that was issued now."""
        hit = self.now + self.config.l1d.hit_cycles
        lines = list(range(insn.pa >> 6, ((insn.pa + int(insn.static["size"]) - 1) >> 6) + 1))
        outstanding = [len(lines)]

        def here():
            outstanding[0] -= 1
            if not outstanding[0]:
                self.finish(insn, max(hit, self.now))

        for line in lines:
            if self.l1.use(line):
                here()
            elif line in self.pending:
                self.pending[line].append(here)
            else:
                self.at(hit, self.miss, line, here)

    def miss(self, line, then):
        """Ask for a line that L1D does not hold, unless somebody has."""
        if self.l1.use(line):
            then()
            return
        if line in self.pending:
            self.pending[line].append(then)
            return
        self.pending[line] = [then]
        self.l1_slots.take(lambda: self.ask_l2(line))

    def ask_l2(self, line):
        """L2 takes one request every so many cycles."""
        start = max(self.now, self.l2_free_at)
        self.l2_free_at = start + self.config.l2.interval_cycles
        self.at(start, self.look_up_l2, line)

    def look_up_l2(self, line):
        extra = self.config.l2.hit_cycles - self.config.l1d.hit_cycles
        if self.l2.use(line):
            self.at(self.now + extra, self.fill_l1, line)
        else:
            self.l2_slots.take(lambda: self.at(self.now + extra + self.dram_cycles, self.transfer, line))

    @property
    def dram_cycles(self):
        dram = self.config.dram
        return self.cycles(dram.latency_ns) - self.cycles(min(dram.row_hit_saves_ns, dram.latency_ns))

    def transfer(self, line):
        self.at(self.bus(line), self.fill_l2, line)

    def bus(self, line):
        """Move a line over its channel; returns when it begins to arrive: critical word first."""
        dram = self.config.dram
        channel = line // (dram.interleave // 64) % dram.channels
        start = max(float(self.now), self.bus_free_at[channel])
        transfer_ns = 64 * dram.channels / dram.bandwidth_gbps
        self.bus_free_at[channel] = start + transfer_ns * self.pipeline.frequency_mhz / 1000
        return int(start)

    def fill_l2(self, line):
        self.l2_slots.release()
        gone = self.l2.insert(line, dirty=False)
        if gone is not None:
            dirty = gone[1]
            if self.config.l2.inclusion == 1:
                dirty = self.l1.drop(gone[0]) or dirty
            if dirty:
                self.bus(gone[0])
        self.fill_l1(line)

    def fill_l1(self, line):
        self.l1_slots.release()
        self.insert_l1(line, dirty=False)
        for then in self.pending.pop(line):
            then()

    def insert_l1(self, line, *, dirty):
        gone = self.l1.insert(line, dirty)
        if gone is not None and gone[1]:
            behind = self.l2.insert(gone[0], dirty=True)
            if behind is not None and behind[1]:
                self.bus(behind[0])
