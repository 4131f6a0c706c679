"""The full screen, driven as a person does: keys, command line, palette, mouse, sizes; and that it only looks."""

import asyncio
import random
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import screens
from screens import press, say, session, settle, shown, text_of
from stepping_digest import digest

from relocscope.screen.app import DARK, LIGHT
from relocscope.screen.caches import Caches
from relocscope.screen.help import Help, help_text
from relocscope.screen.keys import ACTIONS, KEYS
from relocscope.screen.layout import COLUMNS
from relocscope.screen.palette import entries
from relocscope.stepping.commands import COMMANDS, command_name


def driven(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())


@pytest.mark.parametrize("name", screens.KEPT)
def test_the_screens_are_as_they_are_kept(name: str):
    assert asyncio.run(screens.kept(name)) == (screens.GOLDEN / f"{name}.txt").read_text()


def test_the_screen_says_why_the_first_ldp_of_the_copy_is_device_memory_and_what_it_costs():
    async def test() -> None:
        async with shown(session()) as (app, pilot):
            await press(app, pilot, "e")
            assert app.control.session.machine.cpu.el == 2
            await say(app, pilot, "until pc copy_line")
            seen = " ".join(text_of(app).split())
            bill = app.control.session.next_bill()
            assert f"next ldp x0, x1, [x21] costs {sum(bill.values())} cycles" in seen
            assert f"device_load {bill['device_load']}" in seen
            assert bill["device_load"] > 100
            assert "load 16 bytes" in seen
            assert "SCTLR_EL2.M = 0: the EL2 regime translates nothing, and data are Device-nGnRnE" in seen
            assert "SCTLR_EL1.M = 1 governs the EL1&0 regime alone" in seen
            assert "so no gathering, reordering or early acknowledgement: one round trip each" in seen

    driven(test)


def test_keys_step_and_go_back():
    async def test() -> None:
        async with shown(session()) as (app, pilot):
            await press(app, pilot, "s", "space", "right")
            assert app.control.session.number == 3
            await press(app, pilot, "S", "left")
            assert app.control.session.number == 1
            await press(app, pilot, "d")
            assert app.control.session.machine.cpu.el == 2
            await press(app, pilot, "D", "less_than_sign")
            assert app.control.session.number == 0

    driven(test)


def test_a_click_on_a_line_is_a_breakpoint_and_another_one_takes_it_away():
    async def test() -> None:
        async with shown(session()) as (app, pilot):
            await say(app, pilot, "until pc invalidate_line")
            row = next(at for at, line in enumerate(text_of(app).splitlines()) if "sy" in line.split())
            await pilot.click(offset=(20, row))
            await settle(app, pilot)
            assert text_of(app).splitlines()[row].startswith(" ●")
            await press(app, pilot, "c")
            assert app.control.session.insn.text == "dsb sy"
            await pilot.click(offset=(20, row))
            await settle(app, pilot)
            assert app.control.stops == {}

    driven(test)


def test_the_cursor_sets_breakpoints_and_runs_to_its_line():
    async def test() -> None:
        async with shown(session()) as (app, pilot):
            await say(app, pilot, "until pc invalidate_line")
            there = app.control.session.pc + 8
            await press(app, pilot, "down", "down", "b")
            assert [stop.va for stop in app.control.stops.values()] == [there]
            await press(app, pilot, "enter")
            assert (app.control.session.pc, app.code.cursor) == (there, None)
            await press(app, pilot, "b")
            assert app.control.stops == {}

    driven(test)


def test_the_command_line_has_history_completion_and_errors_of_one_line(tmp_path: Path):
    async def test() -> None:
        history = tmp_path / "deep" / "history"
        async with shown(session(), history=history) as (app, pilot):
            await press(app, pilot, "colon", *"step 3", "enter")
            assert app.control.session.number == 3
            await press(app, pilot, "enter")
            assert app.control.session.number == 6
            await press(app, pilot, "up", "enter")
            assert app.control.session.number == 9
            await press(app, pilot, *"until pc invalidate_l")
            await pilot.pause(0.1)
            await press(app, pilot, "tab", "enter")
            assert app.control.session.number > 9
            before = app.control.session.number
            await press(app, pilot, *"goto insn 999999999", "enter", "escape")
            assert "✗ goto insn 999999999: " in text_of(app)
            assert app.control.session.number == before
            await press(app, pilot, "s")
            assert app.control.session.number == before + 1
        said = ["step 3", "until pc invalidate_line", "goto insn 999999999"]
        assert history.read_text().splitlines() == said
        async with shown(session(), history=history) as (app, pilot):
            await press(app, pilot, "colon", "up", "up", "up")
            assert app.command_line.value == "step 3"

    driven(test)


def test_answers_come_forward_where_they_are_seen():
    async def test() -> None:
        async with shown(session()) as (app, pilot):
            for line, pane in (
                ("translate sp", "walk"), ("tlb pc", "caches"), ("stack", "stack"), ("info map", "map"),
                ("x pc 16", "answers"), ("sysregs", "system"), ("regs", "registers"), ("buffers", "buffers"),
                ("info kimage", "kimage"), ("lis", "code"),
            ):  # fmt: skip
                await say(app, pilot, line)
                assert app.front == pane, line
            await say(app, pilot, "translate copy_line")
            address = app.control.session.symbols["copy_line"]
            assert f"va {address:#x}" in text_of(app)
            await press(app, pilot, "full_stop")
            assert f"va {address:#x}" not in text_of(app)

    driven(test)


def test_the_palette_holds_every_command_and_says_it():
    offered = {line.split()[0] for _, _, line in entries()}
    assert offered == set(COMMANDS)

    async def test() -> None:
        async with shown(session()) as (app, pilot):
            await pilot.press("ctrl+p")
            await pilot.pause(0.3)
            await pilot.press(*"until exception")
            await pilot.pause(0.5)
            await pilot.press("enter")
            await pilot.pause(0.3)
            await settle(app, pilot)
            assert app.control.session.number > 0
            assert app.control.session.machine.cpu.el == 2

    driven(test)


def test_help_says_every_key_and_command():
    text = help_text().plain
    assert all(key.shown in text for key in (*KEYS, *ACTIONS))
    assert all(command.usage in text for command in COMMANDS.values())

    async def test() -> None:
        async with shown(session()) as (app, pilot):
            await press(app, pilot, "question_mark")
            assert isinstance(app.screen, Help)
            await press(app, pilot, "escape")
            assert not isinstance(app.screen, Help)
            await press(app, pilot, "s")
            assert app.control.session.number == 1

    driven(test)


def test_what_keys_say_are_commands():
    assert all(command_name(key.line.split()[0]) for key in KEYS)
    keys = [key for each in (*KEYS, *ACTIONS) for key in each.keys.split(",")]
    assert len(set(keys)) == len(keys)


def test_every_size_shows_what_it_has_room_for():
    async def test() -> None:
        async with shown(session(), (200, 60)) as (app, pilot):
            everything = {name for names in COLUMNS for name in names}
            assert {pane.name_ for pane in app.panes} == everything
            assert {pane.name_ for pane in app.panes if pane.region.height > 3} == everything
            await pilot.resize_terminal(80, 24)
            await settle(app, pilot)
            for number, pane in enumerate(app.panes):
                await press(app, pilot, str((number + 1) % 10))
                assert [each for each in app.panes if each.display] == [pane]
                assert pane.region.size == (80, 12)
                assert f"{(number + 1) % 10} {pane.title}]" in text_of(app)
            await pilot.resize_terminal(120, 30)
            await settle(app, pilot)
            assert sum(pane.display for pane in app.panes) == 2
            await pilot.resize_terminal(30, 8)
            await settle(app, pilot)
            await press(app, pilot, "s")
            assert app.control.session.number == 1

    driven(test)


def test_light_and_dark():
    async def test() -> None:
        async with shown(session()) as (app, pilot):
            dark = app.export_screenshot()
            assert app.theme == DARK
            await press(app, pilot, "l")
            assert app.theme == LIGHT
            assert app.export_screenshot() != dark

    driven(test)


def test_without_colour_marks_remain(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def test() -> None:
        async with shown(session()) as (app, pilot):
            await say(app, pilot, "until pc copy_line", "break copy_line", "step", "back")
            line = next(line for line in text_of(app).splitlines() if line.startswith("▶"))
            assert line.startswith("▶●")
            await press(app, pilot, "2")
            assert "pc*" in text_of(app)

    driven(test)


def test_a_long_move_shows_how_far_it_is_and_is_broken_off_by_a_key():
    async def test() -> None:
        async with shown(session(size="1MiB")) as (app, pilot):
            await say(app, pilot, "step 5")
            model, begun, gate = app.control.session.model, threading.Event(), threading.Event()
            search = model.next_change

            def waiting(*asked: Any) -> Any:
                begun.set()
                assert gate.wait(30)
                return search(*asked)

            model.next_change = waiting
            await pilot.press("h", "s", "s")
            assert await asyncio.to_thread(begun.wait, 30)
            await pilot.pause(0.4)
            assert "until hazard ..." in text_of(app)
            assert "esc interrupts" in text_of(app)
            await pilot.press("5", "escape")
            gate.set()
            await settle(app, pilot)
            reached = app.control.session.number
            assert 5 < reached < app.control.session.timeline.end
            assert "stopped: interrupted" in text_of(app)
            await press(app, pilot, "s", "c")
            assert app.control.session.at_end

    driven(test)


@pytest.mark.parametrize("case", ["rfc-v1-nvhe", "v5.17-nvhe"])
def test_panes_change_nothing(case: str):
    async def test() -> None:
        draw = random.Random(case)
        stepped = session(case)
        async with shown(stepped, (200, 60)) as (app, pilot):
            for number in [*(draw.randrange(stepped.timeline.end) for _ in range(2)), stepped.timeline.end]:
                stepped.go(number)
                before = digest(stepped)
                app.pinned = draw.choice([None, stepped.pc, 0, 0x8000_0000, (1 << 64) - 4096])
                app.look()
                await pilot.pause()
                assert digest(stepped) == before
                await press(app, pilot, "v", "pagedown", "tab", "l", "full_stop")
                assert digest(stepped) == before

    driven(test)


def test_a_pane_that_changed_something_would_be_found(monkeypatch: pytest.MonkeyPatch):
    content = Caches.content

    def careless(self: Caches, scene, width: int):
        scene.session.model.replay.step()
        return content(self, scene, width)

    async def test() -> None:
        stepped = session()
        async with shown(stepped, (200, 60)) as (app, _):
            before = digest(stepped)
            monkeypatch.setattr(Caches, "content", careless)
            app.look()
            assert digest(stepped) != before

    driven(test)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((), "use --repl"),
        (("--json", "-"), "--json: belongs to --repl or --gdb"),
        (("--repl", "--gdb", "localhost:0"), "--repl, --gdb: give one of them"),
        (("trace:any", "--repl"), "no registers or memory"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(arguments: tuple[str, ...], rule: str):
    command = [sys.executable, "-m", "relocscope", "step", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert rule in done.stderr
