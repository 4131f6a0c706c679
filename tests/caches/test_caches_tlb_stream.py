"""What the data TLB is asked for: its hits at every size are those of full replays."""

import pytest
from traces_captured import captured

import caches
from caches.stack_distances import hits, hits_of_one_set
from caches.tlb_stream import tlb_stream
from traces.errors import InputError

SHAPES = [(1, 1), (1, 2), (1, 4), (1, 48), (4, 2), (5, 3), (64, 4)]


@pytest.mark.parametrize("core", ["stingray", "altra"])
@pytest.mark.parametrize("case", ["v5.17-nvhe", "v12-vhe", "rfc-v2-nvhe-xn-clear", "rfc-v1-el1", "v4.19-nvhe"])
def test_the_hits_are_those_of_full_replays(case, core):
    trace, config = captured(case, 64), caches.core(core)
    stream = tlb_stream(trace, config)
    one_set, set_associative = hits_of_one_set(stream), dict(zip([4, 5, 64], hits(stream, [4, 5, 64]), strict=True))
    for sets, ways in SHAPES:
        shape = config.override({"dtlb.entries": sets * ways, "dtlb.ways": ways})
        counters = caches.replay(trace, shape).counters["dtlb"]
        found = one_set[min(ways, len(one_set)) - 1] if sets == 1 else set_associative[sets][ways - 1]
        assert (counters["accesses"], counters["hits"]) == (stream.accesses, found)


def test_a_page_that_is_mapped_in_two_ways_is_refused():
    with pytest.raises(InputError, match="maps a page in two ways"):
        tlb_stream(captured("rfc-v2-el1", 64), caches.core("stingray"))
