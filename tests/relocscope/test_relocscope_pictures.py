"""Pictures of sweeps: what they show is what was computed, with units, and they are files or refused."""

import dataclasses

import pytest

from relocscope.answers.indices import Answered, Mover
from relocscope.sensitivity import At, Number, Sensitivity
from relocscope.sweeping.designs import grid
from relocscope.sweeping.heat_map import heat_map
from relocscope.sweeping.picture_files import blank, write_picture
from relocscope.sweeping.plan import Plan
from relocscope.sweeping.table import Table
from relocscope.sweeping.tornado import tornado_of, tornado_of_estimates
from traces.errors import InputError

pytest.importorskip("matplotlib")

KEYS = ("l2.ways", "dram.latency_ns")


def answered(usual, **numbers):
    movers = tuple(Mover(key=name.replace("__", "."), values="1,2", numbers=one) for name, one in numbers.items())
    return Answered(
        what="seconds", case="x", usual=usual, low=0.001, mean=0.002, high=0.004, interval=None, movers=movers
    )


def bars(axes):
    """Left end, right end and height on the page of each bar."""
    return [(one.get_x(), one.get_x() + one.get_width(), one.get_y() + one.get_height() / 2) for one in axes.patches]


def test_a_tornado_goes_from_the_case_as_it_is_to_what_each_key_reaches():
    axes = tornado_of(answered(0.002, l2__ways={"low": 0.001, "high": 0.004}, l1d__ways={"low": 0.002, "high": 0.003}),
                      "one-at-a-time")  # fmt: skip
    assert [tuple(round(end, 9) for end in bar) for bar in bars(axes)] == [
        (1.0, 2.0, 0.0), (2.0, 4.0, 0.0), (2.0, 2.0, 1.0), (2.0, 3.0, 1.0),
    ]  # fmt: skip
    assert "[ms]" in axes.get_xlabel()
    assert [one.get_text() for one in axes.get_yticklabels()] == ["l2.ways", "l1d.ways"]
    assert axes.yaxis_inverted()  # the first at the top


def test_a_tornado_of_indices_has_their_lengths():
    morris = {"mu": 1e-3, "mu_star": 2e-3, "sigma": 0.0, "mu_star_conf": 1e-4}
    axes = tornado_of(answered(None, l2__ways=morris, l1d__ways=dict.fromkeys(morris, 0.0)), "morris")
    assert [bar[:2] for bar in bars(axes)] == [(0.0, pytest.approx(2.0))]  # what moves nothing has no bar
    sobol = {"s1": 0.25, "st": 0.75, "s1_conf": 0.1, "st_conf": 0.1}
    axes = tornado_of(answered(None, l2__ways=sobol), "sobol-indices")
    assert sorted(bar[1] for bar in bars(axes)) == pytest.approx([25.0, 75.0])
    assert "[%]" in axes.get_xlabel()


def test_explains_estimates_make_a_tornado_too():
    at = At(value=1, speedup=3.0, cause="x")
    number = Number(key="l2.ways", value=8, span=(1, 8), at=(at,))
    found = Sensitivity(
        estimated=1, moving=1, low=1.0, high=3.0, numbers=(number,), flips=(), beyond=None, sentence=""
    )  # fmt: skip
    assert [bar[:2] for bar in bars(tornado_of_estimates(2.0, found))] == [(2.0, 2.0), (2.0, 3.0)]
    assert not bars(tornado_of_estimates(2.0, dataclasses.replace(found, numbers=())))
    with pytest.raises(InputError, match="never arrives"):
        tornado_of_estimates(None, found)


def table(rows, **given):
    plan = Plan(cases=("v5.17-nvhe",), grid={KEYS[0]: "8,16", KEYS[1]: "60,70,80", **given})
    return Table(plan=plan, rows=rows, base=None, captures=1, model="", host={})


def cells():
    made = [
        {KEYS[0]: int(row[KEYS[0]]), KEYS[1]: float(row[KEYS[1]])}
        for row in grid({KEYS[0]: "8,16", KEYS[1]: "60,70,80"})
    ]
    return [
        row | {"side": "a", "outcome": "completed", "seconds": 1e-3 * number, "speedup": 1.0}
        for number, row in enumerate(made, 1)
    ]


def test_a_heat_map_has_every_point_in_its_place_and_gaps_where_none_arrives():
    rows = cells()
    rows[3] |= {"outcome": "hang"}
    axes = heat_map(table(rows))
    (image,) = axes.images
    assert image.get_array().tolist() == [[1.0, None], [2.0, 5.0], [3.0, 6.0]]
    assert axes.get_xlabel() == "l2.ways"
    assert axes.get_ylabel() == "dram.latency_ns [ns]"
    assert [one.get_text() for one in axes.get_yticklabels()] == ["60", "70", "80"]
    assert sorted(one.get_text() for one in axes.texts) == ["1", "2", "3", "5", "6"]
    turned = heat_map(table(rows), *reversed(KEYS), of="speedup").images[0]
    assert turned.get_array().shape == (2, 3)


def test_a_heat_map_of_more_keys_needs_them_held():
    rows = [row | {"l1d.ways": ways, "seconds": row["seconds"] * ways} for row in cells() for ways in (2, 4)]
    many = table(rows, **{"l1d.ways": "2,4"})
    with pytest.raises(InputError, match="hold the other"):
        heat_map(many)
    held = heat_map(many, l1d__ways=4).images[0]
    assert held.get_array().tolist() == [[4.0, 16.0], [8.0, 20.0], [12.0, 24.0]]
    with pytest.raises(InputError, match="two of the swept keys"):
        heat_map(many, "l2.size")


@pytest.mark.parametrize("suffix", [".svg", ".html", ".png", ".pdf"])
def test_a_file_is_the_same_each_time_and_names_are_escaped(tmp_path, suffix):
    paths = [tmp_path / f"{number}{suffix}" for number in range(2)]
    for path in paths:
        axes = blank()
        axes.plot([1, 2])
        write_picture(axes.figure, str(path), "--picture", title="a <b> & c")
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    if suffix == ".html":
        assert b"<b>" not in first
        assert b"<svg" in first


def test_the_command_refuses_a_heat_map_of_one_key_before_anything_runs(relocscope, tmp_path):
    status, out, err = relocscope(
        "sweep", "v5.17-nvhe", "--grid", "l2.ways=8,16", "-o", tmp_path / "out", "--heat-map", tmp_path / "h.svg"
    )
    assert (status, out) == (2, "")
    assert "two swept keys, not 1" in err
    assert not (tmp_path / "out").exists()
