import pytest

import caches
from caches.parts import PARTS, Replacement
from traces.errors import InputError

BASES = ("cortex-a72", "cortex-a57", "cortex-a53", "neoverse-n1", "cortex-a76")


@pytest.mark.parametrize("name", [*caches.core_names(), *BASES])
def test_every_preset_loads_and_every_number_has_a_source_or_a_range(name):
    core = caches.core(name)
    assert core.name == name
    for table, kind in PARTS.items():
        for field in kind.__dataclass_fields__:
            origin = core.provenance[f"{table}.{field}"]
            assert origin.source or origin.estimated


@pytest.mark.parametrize("name", caches.core_names())
def test_at_most_one_number_a_machine_is_calibrated(name):
    core = caches.core(name)
    assert len(core.calibrated) <= 1
    for key in core.calibrated:
        assert "calibrated" in core.provenance[key].source


def test_inheritance_changes_only_what_is_written():
    stingray, base = caches.core("stingray"), caches.core("cortex-a72")
    assert stingray.l1d == base.l1d
    assert stingray.frequency_hz == 3_000_000_000
    assert not stingray.architecture.has_vhe
    assert caches.core("thunderx2").architecture.has_vhe


FIXED_KEYS = {
    "l1d.size": "64KiB", "l1d.ways": "4", "l1i.size": "96KiB", "l2.size": "2MiB", "l2.ways": "8", "l3.size": "16MiB",
    "dtlb.entries": "64", "l2tlb.entries": "2048", "dram.latency_ns": "55.5", "dram.bandwidth_gbps": "10",
    "device.round_trip_ns": "100",
}  # fmt: skip


@pytest.mark.parametrize(("key", "text"), FIXED_KEYS.items())
def test_the_fixed_keys_can_be_overridden_with_text(key, text):
    core = caches.core("stingray").override({key: text})
    assert core.value(key) != caches.core("stingray").value(key)
    assert core.provenance[key].source == "override"


def test_a_fully_associative_tlb_stays_so():
    assert caches.core("stingray").override({"dtlb.entries": 64}).dtlb.ways == 64


def test_absent_l3():
    assert caches.core("stingray").override({"l3.size": "0"}).l3.size == 0


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("l1d.size", "-1", ("l1d.size", "-1", "is not a size")),
        ("l1d.size", "33000", ("l1d.size", "33000", "multiple")),
        ("l1d.ways", "0", ("l1d.ways", "0", "at least 1")),
        ("l1d.ways", "two", ("l1d.ways", "two", "int")),
        ("l1d.wayz", "2", ("l1d.wayz", "no such field")),
        ("l9.size", "2", ("l9.size", "no such field")),
        ("dram.latency_ns", "-3", ("dram.latency_ns", "-3", "at least 0")),
        ("dram.latency_ns", "nan", ("dram.latency_ns", "nan", "at least 0")),
        ("l2.replacement", "mru", ("l2.replacement", "mru", "lru")),
        ("walk.through_l1d", "maybe", ("walk.through_l1d", "maybe", "bool")),
        ("dtlb.sizes", "5000", ("dtlb.sizes", "5000", "power of two")),
        ("l2.hit_cycles", "2", ("l2.hit_cycles", "2", "between")),
        ("l2tlb.entries", "12288", ("l2tlb.entries", "12288", "at most")),
        ("pipeline.rob_entries", "99999", ("pipeline.rob_entries", "99999", "at most")),
    ],
)
def test_bad_overrides_are_one_line_naming_field_value_and_rule(key, value, words):
    with pytest.raises(InputError) as caught:
        caches.core("stingray").override({key: value})
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("x = [", "Invalid"),
        ('name = "x"\ntitle = "x"\n', "architecture"),
        ('base = "nowhere"\n', "nowhere"),
        ('base = "stingray"\nname = "x"\n[l2]\nways = 3\n', "l2.ways"),
        ('base = "stingray"\nname = "x"\n[l2]\nways = { value = 3 }\n', "source"),
        ('base = "stingray"\nname = "x"\n[l2]\nways = { value = 3, estimated = [4, 5] }\n', "estimated"),
        ('base = "stingray"\nname = "x"\n[l7]\nways = { value = 3, source = "s" }\n', "l7"),
        ('base = "stingray"\nname = "x"\ncalibrated = ["l2.wayz"]\n', "l2.wayz"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, text, word):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=word) as caught:
        caches.load_core(path)
    assert "mine.toml" in str(caught.value) or "nowhere" in str(caught.value)


def test_own_core_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "stingray"\nname = "mine"\n[l2]\nreplacement = { value = "srrip", source = "tried" }\n')
    assert caches.load_core(path).l2.replacement is Replacement.SRRIP


def test_a_tree_needs_a_power_of_two_of_ways():
    with pytest.raises(InputError, match=r"l1d.ways = 3: must be a power of two with tree-plru"):
        caches.core("stingray").override({"l1d.size": 4 * 3 * 64, "l1d.ways": 3, "l1d.replacement": "tree-plru"})


def test_a_missing_core_is_refused():
    for name in ("stingrey", "../stingray", "", "."):
        with pytest.raises(InputError, match="no such preset"):
            caches.core(name)


def test_mechanisms_are_in_the_six_groups_or_the_cores_and_have_switches():
    from caches.state import MACHINE

    listed = caches.mechanisms()
    assert {mechanism.group for mechanism in listed} == {*caches.GROUPS, "instructions"}
    assert len({mechanism.name for mechanism in listed}) == len(listed)
    for mechanism in listed:
        assert f"on_{mechanism.name}" in MACHINE.names


def test_the_arrays_of_the_kernels_are_large_enough_for_any_configuration():
    """The machine's tables have fixed sizes; the rules of the configuration keep within them."""
    from caches import state
    from caches.kernels import layout
    from caches.parts import (
        CacheLevel,
        Device,
        Dram,
        Fetch,
        MaintenanceCost,
        NonCacheable,
        Pipeline,
        Prefetch,
        Store,
        Walk,
    )

    def most(part, name):
        return part.__dataclass_fields__[name].metadata["high"]

    shape = {name: state.MACHINE.fields[name][0].shape for name in state.MACHINE.names}
    buffers = 4 * most(CacheLevel, "miss_buffers") + most(Fetch, "uncached_outstanding") + most(Walk, "walkers")
    buffers += most(NonCacheable, "outstanding") + most(NonCacheable, "write_buffers")
    buffers += most(Device, "outstanding_reads") + most(Device, "outstanding_writes")
    buffers += most(MaintenanceCost, "dc_outstanding")
    assert buffers <= layout.NOBODY == shape["buffer_end"][0] - 1
    assert most(Dram, "channels") * most(Dram, "banks") <= shape["banks"][0]
    assert layout.CALENDAR_DRAM + most(Dram, "channels") <= shape["calendar"][0]
    assert most(Store, "buffer_entries") <= shape["entries"][0]
    assert most(Store, "stream_buffers") <= shape["merge"][0]
    assert most(NonCacheable, "outstanding") <= shape["nc_lines"][0]
    assert most(Fetch, "buffer_groups") <= shape["fetch_groups"][0]
    assert most(Walk, "cache_entries") <= shape["walk_cache"][0]
    assert 2 * most(Prefetch, "streams") <= shape["streams"][0]
    assert most(Pipeline, "rob_entries") <= shape["retired"][0] == shape["dispatched"][0]
    ports = ["alu_ports", "multi_ports", "load_ports", "store_ports", "vector_ports", "branch_ports"]
    firsts = [layout.CALENDAR_ALU, layout.CALENDAR_MULTI, layout.CALENDAR_LOAD, layout.CALENDAR_STORE]
    firsts += [layout.CALENDAR_VECTOR, layout.CALENDAR_BRANCH, layout.CALENDAR_L2]
    for port, first, following in zip(ports, firsts, firsts[1:], strict=False):
        assert first + most(Pipeline, port) <= following


def test_the_kernels_constants_are_those_of_the_schema_and_of_state():
    from caches import state, tape
    from caches.kernels import layout
    from traces.schema import LEAVES

    names = [
        "BASE", "BRANCH", "FETCH", "DEVICE_LOAD", "DEVICE_STORE", "LEAF_L1D", "LEAF_L2", "LEAF_L3", "DRAM_LATENCY",
        "DRAM_BANDWIDTH", "STORE_BUFFER", "TLB_WALK", "MAINTENANCE", "BARRIER", "EXCEPTION",
    ]  # fmt: skip
    assert [name.lower().removeprefix("leaf_") for name in names] == list(LEAVES)
    assert [getattr(layout, name) for name in names] == list(range(len(LEAVES)))
    for row, name in enumerate(state.COUNTER_ROWS[4:], 4):
        assert getattr(layout, f"ROW_{name.upper()}") == row
    assert [getattr(layout, name.upper()) for name in state.LEVEL_NAMES] == [0, 1, 2, 3]
    assert [getattr(layout, name.upper()) for name in state.TLB_NAMES] == [0, 1, 2]
    for group in ("ALU", "MULTI", "LOAD", "STORE", "VECTOR", "BRANCH"):
        assert getattr(layout, f"CALENDAR_{group}") == getattr(tape, f"PORT_{group}")
    assert layout.LIST_ROWS == state.LIST_ROWS
