"""Microbenchmarks: what they must show of any core, and that they always show the same."""

import dataclasses
import json
from importlib import resources

import jsonschema
import numpy as np
import pytest

import caches
from relocscope import microbench
from relocscope.microbench import guests
from relocscope.microbench.measure import Microbenchmarks, Rate
from traces.errors import InputError

KIB, MIB = 1 << 10, 1 << 20
SMALL = tuple(1 << log2 for log2 in range(16, 22))


@pytest.fixture(scope="module")
def ladder():
    """RK3328's ladder to 2 MiB: 32 KiB of L1D, 256 KiB of L2, exclusive of each other."""
    return microbench.latency(caches.core("rk3328"), 4096, SMALL)


def test_the_knees_are_where_the_sizes_say(ladder):
    core = caches.core("rk3328")
    l2_ns = core.l2.hit_cycles * 1e9 / core.frequency_hz
    assert ladder[64 * KIB] < ladder[128 * KIB] < ladder[256 * KIB] < 1.05 * l2_ns
    assert ladder[512 * KIB] > 4 * ladder[256 * KIB]
    # 288 KiB are cached: a share of 1 - 288/512 goes to memory, then 1 - 288/1024, and so on.
    memory = (ladder[2 * MIB] - l2_ns * 288 / 2048) / (1 - 288 / 2048)
    assert ladder[512 * KIB] == pytest.approx(memory * (1 - 288 / 512) + l2_ns * 288 / 512, rel=0.1)


def test_a_larger_l2_moves_its_knee():
    larger = microbench.latency(caches.core("rk3328").override({"l2.size": "512KiB"}), 4096, SMALL)
    assert larger[512 * KIB] < 1.2 * larger[256 * KIB]
    assert larger[MIB] > 4 * larger[512 * KIB]


def test_an_l1d_hit_is_what_the_core_says(ladder):
    core = caches.core("rk3328")
    sizes = (16 * KIB,)
    assert microbench.latency(core, 4096, sizes)[16 * KIB] == pytest.approx(
        core.l1d.hit_cycles * 1e9 / core.frequency_hz, rel=0.02
    )


def test_large_leaves_are_not_slower_and_stage_2_is():
    core = caches.core("graviton1")
    small, large = (microbench.latency(core, leaf, SMALL[:5]) for leaf in (4096, 2 * MIB))
    assert all(large[size] <= small[size] * 1.001 for size in small)
    assert small[MIB] > large[MIB] + 0.5 * core.l2tlb.hit_cycles * 1e9 / core.frequency_hz
    nested = microbench.latency(core, 4096, SMALL[:5], stage2_leaf_bytes=2 * MIB)
    assert all(nested[size] >= small[size] * 0.999 for size in small)
    sixteen = microbench.latency(caches.core("rpi5"), 16384, SMALL[:4])
    assert sixteen[512 * KIB] < microbench.latency(caches.core("rpi5"), 4096, SMALL[:4])[512 * KIB]


def test_the_same_twice(ladder):
    assert microbench.latency(caches.core("rk3328"), 4096, SMALL) == ladder


def test_random_reads_touch_what_they_should():
    """Every size's reads fall all over its buffer and nowhere else."""
    guests.run.cache_clear()
    microbench.latency(caches.core("rk3328"), 4096, SMALL[:2])
    trace = guests.run(
        "ladder",
        tuple({19: guests.HEAP, 20: SMALL[0], 21: SMALL[1], 22: 8192, 23: 24576, 6: 6364136223846793005,
               7: 1442695040888963407}.items()),
        (guests.Buffer(pa=guests.HEAP, size=SMALL[1], leaf_bytes=4096),),
        0,
    ).trace  # fmt: skip
    assert guests.run.cache_info().hits == 1
    pages = np.unique(trace.translations["page"]) << 12
    data = pages[pages >= guests.HEAP]
    assert (data.min(), data.max()) == (guests.HEAP, guests.HEAP + SMALL[1] - 4096)
    assert len(data) == SMALL[1] // 4096


def test_a_copy_stays_below_its_memory_and_is_steady():
    core = caches.core("rpi4")
    copied, filled = microbench.memcpy(core), microbench.memset(core)
    assert 2 * copied.bytes_per_second < core.dram.bandwidth_gbps * 1e9
    assert filled.bytes_per_second < core.dram.bandwidth_gbps * 1e9
    assert copied.spread < 0.03
    assert filled.spread < 0.03
    narrow = microbench.memcpy(core.override({"dram.bandwidth_gbps": 2.0}))
    assert 2 * narrow.bytes_per_second < 2.0e9


def test_uncached_reads_follow_their_rules():
    core = caches.core("rk3328")
    device, noncacheable = (microbench.uncached_reads(core, kind) for kind in ("Device-nGnRnE", "Normal-NC"))
    trip = core.device.round_trip_ns
    assert device == pytest.approx({8: trip, 16: trip, 32: 2 * trip, 64: 4 * trip}, rel=0.02)
    # One transaction whatever the width, but for ld1 of four vectors.
    assert noncacheable[8] == pytest.approx(noncacheable[32], rel=0.02)
    assert noncacheable[64] == pytest.approx(8 * noncacheable[8], rel=0.02)
    forwarded = microbench.uncached_reads(caches.core("jetson-nano"), "Normal-NC")
    assert forwarded[64] == pytest.approx(4 * forwarded[16], rel=0.02)


def test_json_is_valid_and_has_every_key():
    rate = Rate(bytes_per_second=1.5e9, spread=0.001)
    measured = Microbenchmarks(
        core="stingray",
        memcpy=rate,
        memset=rate,
        latency_ns={size: dict.fromkeys(microbench.LEAF_BYTES, 1.25) for size in microbench.LADDER_BYTES},
        uncached_read_ns={kind: dict.fromkeys(microbench.WIDTHS, 75.0) for kind in microbench.UNCACHED_TYPES},
    )
    schema = json.loads((resources.files("relocscope") / "schemas" / "microbench.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(measured.to_json())))
    assert measured.to_json()["latency_ns"]["64MiB"] == {"4KiB": 1.25, "2MiB": 1.25}
    assert measured.to_json()["uncached_read_ns"]["Normal-NC"]["16"] == 75.0
    assert dataclasses.asdict(measured)["core"] == "stingray"


def test_a_program_that_does_not_end_is_refused():
    with pytest.raises(InputError, match=r"spin\.S: hang"):
        guests.run_source("b .", "spin")


@pytest.mark.slow
def test_all_of_them_on_a_core_file(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('base = "rpi4"\nname = "own"\ntitle = "own"\n[l2]\nsize = { value = "512KiB", source = "mine" }\n')
    measured = microbench.measure(caches.load_core(own)).to_json()
    schema = json.loads((resources.files("relocscope") / "schemas" / "microbench.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(measured)
    assert measured["core"] == "own"
    assert measured["latency_ns"]["1MiB"]["2MiB"] > 3 * measured["latency_ns"]["512KiB"]["2MiB"]
    assert measured == microbench.measure(caches.load_core(own)).to_json()
